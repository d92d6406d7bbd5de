//! A certificate as it is sent to the nodes: its names, chain and private key.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use zeroize::Zeroizing;

use super::{Host, InvalidHostError};

/// The id of a certificate on the feed and in the store: its first host, or `*.name` for a wildcard.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateId(Box<str>);

impl CertificateId {
    /// Parses an id: a text of 1 to 300 bytes without control characters.
    pub fn parse(text: &str) -> Result<Self, InvalidCertificateError> {
        if text.is_empty() || text.len() > 300 || text.chars().any(char::is_control) {
            return Err(InvalidCertificateError::Id);
        }
        Ok(Self(text.into()))
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&Host> for CertificateId {
    fn from(host: &Host) -> Self {
        Self(host.as_str().into())
    }
}

/// A host name or wildcard in a certificate (RFC 9525 §6.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CertName {
    /// A single host.
    Exact(Host),
    /// Every host that is exactly one label below this one.
    Wildcard(Host),
}

impl CertName {
    /// Returns whether this name covers `host`.
    #[must_use]
    pub fn covers(&self, host: &Host) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Wildcard(parent) => host.is_child_of(parent),
        }
    }
}

impl fmt::Display for CertName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => host.fmt(f),
            Self::Wildcard(parent) => write!(f, "*.{parent}"),
        }
    }
}

impl FromStr for CertName {
    type Err = InvalidHostError;

    fn from_str(text: &str) -> Result<Self, InvalidHostError> {
        match text.strip_prefix("*.") {
            Some(parent) => Host::parse(parent).map(Self::Wildcard),
            None => Host::parse(text).map(Self::Exact),
        }
    }
}

/// A certificate chain with its private key. Nodes, which have the TLS library, check that the key matches the chain.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate's id.
    pub id: CertificateId,
    /// The names that the certificate covers; never empty.
    pub names: Vec<CertName>,
    /// The chain in DER, leaf first; never empty.
    pub chain: Vec<Vec<u8>>,
    /// The private key, in PKCS#8 DER.
    pub key: Zeroizing<Vec<u8>>,
}

/// An invalid [`Certificate`] or [`CertificateId`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidCertificateError {
    /// The id is empty, too long or has control characters.
    #[error("the certificate's id is empty, over 300 bytes or has control characters")]
    Id,
    /// The certificate has no name.
    #[error("the certificate names no host")]
    NoNames,
    /// A name is not a valid host.
    #[error("the certificate has an invalid name: {0}")]
    Name(#[from] InvalidHostError),
    /// The chain or the key is missing.
    #[error("the certificate has no chain or no key")]
    Incomplete,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("id", &self.id)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_label() {
        let host = |text| Host::parse(text).unwrap();
        let star: CertName = "*.a.b".parse().unwrap();
        assert!(star.covers(&host("x.a.b")));
        assert!(!star.covers(&host("x.y.a.b")));
        assert!(!star.covers(&host("a.b")));
        let exact: CertName = "a.b".parse().unwrap();
        assert!(exact.covers(&host("a.b")) && !exact.covers(&host("x.a.b")));
        assert!("*".parse::<CertName>().is_err());
    }

    #[test]
    fn debug_shows_no_key() {
        let cert = Certificate {
            id: CertificateId::parse("a.b").unwrap(),
            names: vec!["a.b".parse().unwrap()],
            chain: vec![vec![1]],
            key: Zeroizing::new(b"sesame".to_vec()),
        };
        let shown = format!("{cert:?}");
        assert!(!shown.contains("115") && !shown.contains("sesame"), "{shown}");
    }
}
