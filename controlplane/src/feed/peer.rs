//! Who is at the other end of a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use uuid::Uuid;

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A process of this machine that may open the socket.
    Local,
    /// A remote peer.
    Remote {
        /// Their address.
        address: SocketAddr,
        /// The id in the certificate of our CA that they showed, if they did.
        member: Option<Uuid>,
    },
}

impl Peer {
    /// Their address, if they have one.
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
