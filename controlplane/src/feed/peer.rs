//! The peer of a connection to the feed.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use uuid::Uuid;

/// The peer of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A local process that connected to the unix socket.
    Local,
    /// A remote peer.
    Remote {
        /// The peer's address.
        address: SocketAddr,
        /// The node id in the client certificate from the nodes' CA, if the peer presented one.
        member: Option<Uuid>,
    },
}

impl Peer {
    /// Returns the peer's IP address; `None` for a local peer.
    #[must_use]
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Local => None,
            Self::Remote { address, .. } => Some(address.ip().to_canonical()),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            None => f.write_str("unix"),
            Some(address) => address.fmt(f),
        }
    }
}
