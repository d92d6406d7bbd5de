//! The names of nodes, and the address at which remote nodes reach a controlplane.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The name of an invited node: 1 to 63 ASCII letters, digits and `. _ -`, starting with a letter or digit.
/// Case-sensitive.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(Box<str>);

/// A text that is not a valid node name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a node name: use 1 to 63 letters, digits and . _ -, a letter or digit first")]
pub struct InvalidNodeNameError(String);

impl NodeName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = InvalidNodeNameError;

    fn from_str(text: &str) -> Result<Self, InvalidNodeNameError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if begins && text.len() <= 63 && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidNodeNameError(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host and a port at which a controlplane accepts remote nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RemoteAddress {
    /// A DNS name or an IP address, an IPv6 one without brackets.
    host: String,
    port: u16,
}

/// A text that is not a valid [`RemoteAddress`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not HOST:PORT: write such as control.example.com:7443 or [2001:db8::1]:7443")]
pub struct InvalidRemoteAddressError(String);

impl RemoteAddress {
    /// Returns the host, in the form that a resolver accepts.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port; never 0.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for RemoteAddress {
    type Err = InvalidRemoteAddressError;

    fn from_str(text: &str) -> Result<Self, InvalidRemoteAddressError> {
        let invalid = || InvalidRemoteAddressError(text.chars().take(300).collect());
        if let Ok(address) = text.parse::<SocketAddr>() {
            let usable = address.port() != 0 && !address.ip().is_unspecified();
            let host = address.ip().to_string();
            return usable.then_some(Self { host, port: address.port() }).ok_or_else(invalid);
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        let port: u16 = port.parse().map_err(|_| invalid())?;
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let named = host.len() <= 253 && host.split('.').all(label);
        if port == 0 || !named {
            return Err(invalid());
        }
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

impl fmt::Display for RemoteAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<Ipv6Addr>() {
            Ok(v6) => write!(f, "[{v6}]:{}", self.port),
            Err(_) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl TryFrom<String> for RemoteAddress {
    type Error = InvalidRemoteAddressError;

    fn try_from(text: String) -> Result<Self, InvalidRemoteAddressError> {
        text.parse()
    }
}

impl From<RemoteAddress> for String {
    fn from(address: RemoteAddress) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_names_are_restricted_to_plain_characters() {
        for good in ["a", "fra-1", "Node2.example_x", &"x".repeat(63)] {
            assert_eq!(good.parse::<NodeName>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", ".a", "a b", "ä", "a/b", "a\n", &"x".repeat(64)] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for (text, host) in [
            ("Control.example.com:7443", "control.example.com"),
            ("192.0.2.1:1", "192.0.2.1"),
            ("[2001:db8::1]:2", "2001:db8::1"),
        ] {
            let address: RemoteAddress = text.parse().unwrap();
            assert_eq!(address.host(), host);
            assert_eq!(address.to_string(), text.to_lowercase());
        }
        for bad in [
            "",
            "x",
            "x:",
            ":1",
            "x:0",
            "x:70000",
            "[::]:1",
            "0.0.0.0:1",
            "::1:2",
            "a b:1",
            "a..b:1",
            "u@h:1",
        ] {
            assert!(bad.parse::<RemoteAddress>().is_err(), "{bad:?}");
        }
    }
}
