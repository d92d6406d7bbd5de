//! Where a route leads: overlay addresses inside the allowed prefixes.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;

use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How many backends one route may have.
pub const MAX_BACKENDS: usize = 32;

/// An address and a port other than 0, written `[v6]:port` or `v4:port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Backend(SocketAddr);

/// Why a text is not a usable [`Backend`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidBackend {
    /// An address alone.
    #[error("`{0}` has no port: write [{0}]:8080")]
    NoPort(String),
    /// `[…]` alone.
    #[error("`{0}` has no port: write {0}:8080")]
    NoPortBracketed(String),
    /// Port 0.
    #[error("`{0}` has port 0, a port from 1 to 65535 is needed")]
    PortZero(String),
    /// A scope id, or something that is no address at all.
    #[error("`{0}` is not an address and a port: write [400::1]:8080")]
    Malformed(String),
    /// Outside the operator's `allowed_backends`.
    #[error("`{0}` is outside the allowed prefixes ({1})")]
    Prohibited(Backend, String),
}

impl Backend {
    /// Parses `[v6]:port` or `v4:port`.
    pub fn parse(text: &str) -> Result<Self, InvalidBackend> {
        if text.parse::<IpAddr>().is_ok() {
            return Err(InvalidBackend::NoPort(text.to_owned()));
        }
        let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        if inner.is_some_and(|t| t.parse::<Ipv6Addr>().is_ok()) {
            return Err(InvalidBackend::NoPortBracketed(text.to_owned()));
        }
        let address: SocketAddr = text.parse().map_err(|_| InvalidBackend::Malformed(text.to_owned()))?;
        if address.port() == 0 {
            return Err(InvalidBackend::PortZero(text.to_owned()));
        }
        if matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0) {
            return Err(InvalidBackend::Malformed(text.to_owned()));
        }
        Ok(Self(address))
    }

    /// The same address at another port, which is not 0.
    #[must_use]
    pub fn at_port(self, port: NonZeroU16) -> Self {
        Self(SocketAddr::new(self.0.ip(), port.get()))
    }

    /// The address to dial.
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
    type Err = InvalidBackend;

    fn from_str(text: &str) -> Result<Self, InvalidBackend> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Backend {
    type Error = InvalidBackend;

    fn try_from(text: String) -> Result<Self, InvalidBackend> {
        Self::parse(&text)
    }
}

impl From<Backend> for String {
    fn from(backend: Backend) -> Self {
        backend.to_string()
    }
}

/// The prefixes a backend must be in: the overlay alone, unless the operator says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Prefixes(Vec<IpNet>);

impl Prefixes {
    /// These prefixes and no others.
    #[must_use]
    pub fn new(prefixes: Vec<IpNet>) -> Self {
        Self(prefixes)
    }

    /// Refuses a backend outside every prefix.
    pub fn admit(&self, backend: Backend) -> Result<Backend, InvalidBackend> {
        // An IPv4-mapped IPv6 address reaches IPv4: it counts as what it reaches.
        let reached = backend.0.ip().to_canonical();
        if self.0.iter().any(|prefix| prefix.contains(&reached)) {
            return Ok(backend);
        }
        Err(InvalidBackend::Prohibited(backend, self.to_string()))
    }

    /// The prefixes, as given.
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

/// Why a list is not a [`Backends`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidBackends {
    /// None given.
    #[error("a route needs at least one backend")]
    None,
    /// Too many given.
    #[error("{0} backends given, at most {MAX_BACKENDS} are allowed")]
    TooMany(usize),
    /// One given twice.
    #[error("`{0}` is given twice")]
    Duplicate(Backend),
    /// One of them is no backend.
    #[error(transparent)]
    Backend(#[from] InvalidBackend),
}

impl Backends {
    /// Takes a list all of whose members are inside `prefixes`.
    pub fn new(list: Vec<Backend>, prefixes: &Prefixes) -> Result<Self, InvalidBackends> {
        if list.is_empty() {
            return Err(InvalidBackends::None);
        }
        if list.len() > MAX_BACKENDS {
            return Err(InvalidBackends::TooMany(list.len()));
        }
        for (i, &backend) in list.iter().enumerate() {
            prefixes.admit(backend)?;
            if list[..i].contains(&backend) {
                return Err(InvalidBackends::Duplicate(backend));
            }
        }
        Ok(Self(list.into()))
    }

    /// Parses and takes a list of texts.
    pub fn parse<S: AsRef<str>>(texts: &[S], prefixes: &Prefixes) -> Result<Self, InvalidBackends> {
        let list: Result<Vec<_>, _> = texts.iter().map(|t| Backend::parse(t.as_ref())).collect();
        Self::new(list?, prefixes)
    }

    /// The same addresses, all at one port.
    #[must_use]
    pub fn at_port(&self, port: NonZeroU16) -> Self {
        let mut moved: Vec<Backend> = self.0.iter().map(|backend| backend.at_port(port)).collect();
        moved.sort_unstable();
        moved.dedup();
        Self(moved.into())
    }

    /// The backends, in the order given.
    #[must_use]
    pub fn as_slice(&self) -> &[Backend] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_overlay_addresses_only() {
        let overlay = Prefixes::default();
        assert_eq!(overlay.to_string(), "400::/7");
        let good = Backend::parse("[54f:1::1]:8080").unwrap();
        assert_eq!(overlay.admit(good), Ok(good));
        for outside in
            ["[2001:db8::1]:80", "127.0.0.1:80", "[::1]:80", "[600::1]:80", "[::ffff:127.0.0.1]:80"]
        {
            let backend = Backend::parse(outside).unwrap();
            assert!(matches!(overlay.admit(backend), Err(InvalidBackend::Prohibited(..))), "{outside}");
        }
        let mapped = Prefixes::new(vec!["127.0.0.0/8".parse().unwrap()]);
        assert!(mapped.admit(Backend::parse("[::ffff:127.0.0.1]:80").unwrap()).is_ok());
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, error) in [
            ("400::1", InvalidBackend::NoPort("400::1".into())),
            ("[400::1]", InvalidBackend::NoPortBracketed("[400::1]".into())),
            ("[400::1]:0", InvalidBackend::PortZero("[400::1]:0".into())),
            ("[400::1]:99999", InvalidBackend::Malformed("[400::1]:99999".into())),
            ("[fe80::1%3]:80", InvalidBackend::Malformed("[fe80::1%3]:80".into())),
            ("example.org:80", InvalidBackend::Malformed("example.org:80".into())),
            ("", InvalidBackend::Malformed(String::new())),
        ] {
            assert_eq!(Backend::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_list_is_bounded_and_without_doubles() {
        let prefixes = Prefixes::default();
        let many: Vec<String> = (1..=33).map(|i| format!("[400::{i:x}]:80")).collect();
        assert_eq!(Backends::parse(&many, &prefixes), Err(InvalidBackends::TooMany(33)));
        assert_eq!(Backends::parse(&many[..32], &prefixes).unwrap().as_slice().len(), 32);
        assert_eq!(Backends::parse::<&str>(&[], &prefixes), Err(InvalidBackends::None));
        let twice = ["[400::1]:80", "[400:0::1]:80"];
        assert!(matches!(Backends::parse(&twice, &prefixes), Err(InvalidBackends::Duplicate(_))));
    }
}
