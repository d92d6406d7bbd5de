//! The `[feed]` section: the listeners for nodes, and the settings of remote nodes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;
use webgateway_proto::model::RemoteAddress;

/// The minimum lifetime of a node's certificate, which leaves time to renew it.
const MIN_NODE_LIFETIME: Duration = Duration::from_secs(5);
/// The maximum lifetime of a node's certificate.
const MAX_NODE_LIFETIME: Duration = Duration::from_secs(366 * 24 * 3600);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Feed {
    listen: Vec<String>,
    address: Option<RemoteAddress>,
    #[serde(with = "humantime_serde")]
    node_lifetime: Duration,
    #[serde(with = "humantime_serde")]
    pub(super) ticket_rotation: Duration,
}

/// The listeners for nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedConfig {
    /// The addresses to listen on; never empty.
    pub listen: Vec<FeedAddress>,
    /// The address of the controlplane for remote nodes, if it is configured or can be derived from `listen`.
    pub address: Option<RemoteAddress>,
    /// The lifetime of remote nodes' certificates.
    pub node_lifetime: Duration,
}

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedAddress {
    /// A unix socket. Every process that may open it is trusted as a node.
    Unix(PathBuf),
    /// A TCP address for remote nodes, which use mutual TLS.
    Tcp(SocketAddr),
}

/// The `[feed]` section is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FeedConfigError {
    /// The list of addresses is empty.
    #[error(
        "`feed.listen` is empty: no dataplane could connect; leave it out for unix:/run/webgateway/feed.sock"
    )]
    NoAddress,
    /// An address is neither a unix socket nor an address and port.
    #[error(
        "`feed.listen`: `{0}` is neither unix:/path nor address:port, such as unix:/run/webgateway/feed.sock or [::]:7443"
    )]
    Listen(String),
    /// The lifetime is out of bounds.
    #[error("`feed.node_lifetime` must be from 5s to 366days")]
    Lifetime,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            listen: vec!["unix:/run/webgateway/feed.sock".to_owned()],
            address: None,
            node_lifetime: Duration::from_secs(30 * 24 * 3600),
            ticket_rotation: Duration::from_secs(6 * 3600),
        }
    }
}

impl Feed {
    pub(super) fn resolve(self) -> Result<FeedConfig, FeedConfigError> {
        if self.listen.is_empty() {
            return Err(FeedConfigError::NoAddress);
        }
        if !(MIN_NODE_LIFETIME..=MAX_NODE_LIFETIME).contains(&self.node_lifetime) {
            return Err(FeedConfigError::Lifetime);
        }
        let listen: Vec<_> = self.listen.iter().map(|text| address(text)).collect::<Result<_, _>>()?;
        let address = self.address.or_else(|| only_address(&listen));
        Ok(FeedConfig { listen, address, node_lifetime: self.node_lifetime })
    }
}

impl FeedConfig {
    /// Returns true if there is a listener for remote nodes.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.listen.iter().any(|address| matches!(address, FeedAddress::Tcp(_)))
    }
}

fn address(text: &str) -> Result<FeedAddress, FeedConfigError> {
    match text.strip_prefix("unix:") {
        Some(path) if !path.is_empty() && !path.ends_with('/') => Ok(FeedAddress::Unix(path.into())),
        Some(_) => Err(FeedConfigError::Listen(text.to_owned())),
        None => text.parse().map(FeedAddress::Tcp).map_err(|_| FeedConfigError::Listen(text.to_owned())),
    }
}

/// Returns the only TCP address that is listened on, if there is exactly one and it is not unspecified.
fn only_address(listen: &[FeedAddress]) -> Option<RemoteAddress> {
    let mut remote = listen.iter().filter_map(|address| match address {
        FeedAddress::Tcp(address) => Some(address),
        FeedAddress::Unix(_) => None,
    });
    let only = remote.next()?;
    remote.next().is_none().then(|| only.to_string().parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(listen: &[&str]) -> Result<FeedConfig, FeedConfigError> {
        let listen = listen.iter().map(|text| (*text).to_owned()).collect();
        Feed { listen, ..Feed::default() }.resolve()
    }

    #[test]
    fn unix_sockets_and_tcp_addresses_can_be_combined() {
        let config = resolve(&["unix:feed.sock", "[2001:db8::1]:7443"]).unwrap();
        assert!(config.is_remote());
        assert_eq!(config.address.unwrap().to_string(), "[2001:db8::1]:7443");
        let config = resolve(&["unix:feed.sock", "[::]:7443"]).unwrap();
        assert_eq!(config.address, None, "an unspecified address is of no use to remote nodes");
        assert_eq!(resolve(&["192.0.2.1:1", "192.0.2.2:1"]).unwrap().address, None);
        assert!(!resolve(&["unix:feed.sock"]).unwrap().is_remote());
    }

    #[test]
    fn invalid_addresses_are_refused() {
        assert_eq!(resolve(&[]), Err(FeedConfigError::NoAddress));
        for bad in ["unix:", "unix:/x/", "feed.sock", "host:7443", "7443"] {
            assert_eq!(resolve(&[bad]), Err(FeedConfigError::Listen(bad.to_owned())));
        }
        let short = Feed { node_lifetime: Duration::from_secs(1), ..Feed::default() };
        assert_eq!(short.resolve(), Err(FeedConfigError::Lifetime));
    }
}
