//! The backends of a route: addresses inside the allowed prefixes.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;

use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The maximum number of backends of one route.
pub const MAX_BACKENDS: usize = 32;

/// An address and a port other than 0, written `[v6]:port` or `v4:port`. IPv4-mapped IPv6 becomes IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Backend(SocketAddr);

/// A text that is not an allowed [`Backend`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidBackendError {
    /// The text is an address without a port. The second text is a backend with that address.
    #[error("`{0}` has no port: write, for example, {1}")]
    NoPort(String, String),
    /// The text is an IPv6 address without brackets, and a port. The second text has brackets.
    #[error("`{0}` needs brackets around the IPv6 address: write {1}")]
    NoBrackets(String, String),
    /// The port is 0.
    #[error("`{0}` has port 0, a port from 1 to 65535 is needed")]
    PortZero(String),
    /// The text is not an address and a port, or it has a scope id.
    #[error("`{0}` is not an address and a port: write [400::1]:8080")]
    Malformed(String),
    /// The address is outside the operator's `allowed_backends`.
    #[error("`{0}` is outside the allowed prefixes ({1})")]
    Prohibited(Backend, String),
}

impl Backend {
    /// Parses `[v6]:port` or `v4:port`.
    pub fn parse(text: &str) -> Result<Self, InvalidBackendError> {
        let address: SocketAddr = text.parse().map_err(|_| Self::error_in(text))?;
        if address.port() == 0 {
            return Err(InvalidBackendError::PortZero(text.to_owned()));
        }
        if text.contains('%') {
            return Err(InvalidBackendError::Malformed(text.to_owned()));
        }
        // Connecting to an IPv4-mapped IPv6 address reaches the IPv4 address, so the prefixes must be checked for that
        // address.
        Ok(Self(SocketAddr::new(address.ip().to_canonical(), address.port())))
    }

    /// Returns what is wrong with a text that is not an address and a port.
    fn error_in(text: &str) -> InvalidBackendError {
        // The last group of an address without brackets is almost always meant as the port.
        if let Some((address, port)) = text.rsplit_once(':')
            && address.parse::<Ipv6Addr>().is_ok()
            && port.bytes().all(|digit| digit.is_ascii_digit())
            && port.parse::<NonZeroU16>().is_ok()
        {
            return InvalidBackendError::NoBrackets(text.to_owned(), format!("[{address}]:{port}"));
        }
        let address = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        match address.parse::<IpAddr>() {
            Ok(address) => {
                InvalidBackendError::NoPort(text.to_owned(), SocketAddr::new(address, 8080).to_string())
            }
            Err(_) => InvalidBackendError::Malformed(text.to_owned()),
        }
    }

    /// Returns the backend at another port.
    #[must_use]
    pub fn at_port(self, port: NonZeroU16) -> Self {
        Self(SocketAddr::new(self.0.ip(), port.get()))
    }

    /// Returns the address to connect to.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        self.0
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Backend {
    type Err = InvalidBackendError;

    fn from_str(text: &str) -> Result<Self, InvalidBackendError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Backend {
    type Error = InvalidBackendError;

    fn try_from(text: String) -> Result<Self, InvalidBackendError> {
        Self::parse(&text)
    }
}

impl From<Backend> for String {
    fn from(backend: Backend) -> Self {
        backend.to_string()
    }
}

/// The prefixes that every backend must be in; by default only the overlay's `400::/7`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Prefixes(Vec<IpNet>);

impl Prefixes {
    /// Makes a set of these prefixes.
    #[must_use]
    pub fn new(prefixes: Vec<IpNet>) -> Self {
        Self(prefixes)
    }

    /// Returns the backend, or an error if it is outside every prefix.
    pub fn admit(&self, backend: Backend) -> Result<Backend, InvalidBackendError> {
        if self.contain(backend.0.ip()) {
            return Ok(backend);
        }
        Err(InvalidBackendError::Prohibited(backend, self.to_string()))
    }

    /// Returns whether an address is inside one of the prefixes.
    #[must_use]
    pub fn contain(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|prefix| prefix.contains(&ip.to_canonical()))
    }

    /// Iterates over the prefixes, in their original order.
    pub fn iter(&self) -> impl Iterator<Item = &IpNet> {
        self.0.iter()
    }
}

impl Default for Prefixes {
    fn default() -> Self {
        let overlay = Ipv6Net::new_assert(Ipv6Addr::new(0x400, 0, 0, 0, 0, 0, 0, 0), 7);
        Self(vec![IpNet::V6(overlay)])
    }
}

impl fmt::Display for Prefixes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, prefix) in self.0.iter().enumerate() {
            write!(f, "{}{prefix}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// One to [`MAX_BACKENDS`] different backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backends(Box<[Backend]>);

/// A list that is not a valid [`Backends`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidBackendsError {
    /// The list is empty.
    #[error("a route needs at least one backend")]
    None,
    /// The list has more than [`MAX_BACKENDS`] backends.
    #[error("{0} backends given, at most {MAX_BACKENDS} are allowed")]
    TooMany(usize),
    /// A backend is listed twice.
    #[error("`{0}` is given twice")]
    Duplicate(Backend),
    /// A backend is invalid or not allowed.
    #[error(transparent)]
    Backend(#[from] InvalidBackendError),
}

impl Backends {
    /// Makes a list of backends, all of which must be inside `prefixes`.
    pub fn new(list: Vec<Backend>, prefixes: &Prefixes) -> Result<Self, InvalidBackendsError> {
        if list.is_empty() {
            return Err(InvalidBackendsError::None);
        }
        if list.len() > MAX_BACKENDS {
            return Err(InvalidBackendsError::TooMany(list.len()));
        }
        for (i, &backend) in list.iter().enumerate() {
            prefixes.admit(backend)?;
            if list[..i].contains(&backend) {
                return Err(InvalidBackendsError::Duplicate(backend));
            }
        }
        Ok(Self(list.into()))
    }

    /// Parses a list of backends, all of which must be inside `prefixes`.
    pub fn parse<S: AsRef<str>>(texts: &[S], prefixes: &Prefixes) -> Result<Self, InvalidBackendsError> {
        let list: Result<Vec<_>, _> = texts.iter().map(|t| Backend::parse(t.as_ref())).collect();
        Self::new(list?, prefixes)
    }

    /// Returns the backends' addresses at one port, sorted and without duplicates.
    #[must_use]
    pub fn at_port(&self, port: NonZeroU16) -> Self {
        let mut moved: Vec<Backend> = self.0.iter().map(|backend| backend.at_port(port)).collect();
        moved.sort_unstable();
        moved.dedup();
        Self(moved.into())
    }

    /// Returns the backends, in their original order.
    #[must_use]
    pub fn as_slice(&self) -> &[Backend] {
        &self.0
    }
}

#[cfg(test)]
mod tests;
