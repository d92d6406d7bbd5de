//! Connecting to a backend, and naming what went wrong.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tracing::debug;
use webgateway_process::{network_stack, reachable};
use webgateway_proto::model::{ProcessListeners, StackAddress};

use super::stream::BackendStream;
use crate::snapshot::Snapshot;

/// The reason why a backend cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum DialError {
    /// Nothing listens there.
    #[error("connection refused")]
    Refused,
    /// The backend did not answer in time.
    #[error("no answer in time")]
    Timeout,
    /// There is no route to the backend's address.
    #[error("no route to it")]
    Unroutable,
    /// This node is out of sockets.
    #[error("this node is out of sockets")]
    Exhausted,
    /// The backend is this gateway's own listener: what goes there comes back.
    #[error("it is a listener of this gateway itself")]
    Ourselves,
    /// Anything else.
    #[error("cannot connect ({0})")]
    Other(io::ErrorKind),
}

/// The listeners of this gateway, this node's and, as the controlplane says, its own and those of other nodes: a backend
/// there would bring a connection back for ever, and bytes that pass through cannot be marked as HTTP requests are; or it
/// would show the public what is meant for the operator.
#[derive(Clone)]
pub(crate) struct Ourselves {
    own: Arc<ProcessListeners>,
    snapshot: Arc<ArcSwap<Snapshot>>,
}

/// The terms on which backends are connected to.
#[derive(Debug, Clone)]
pub(crate) struct Dialer {
    /// The gateway's own listeners, where no backend may be.
    pub ourselves: Ourselves,
    /// The time for a backend's host to acknowledge what it was sent.
    pub ack_timeout: Duration,
}

impl Ourselves {
    /// Returns this node's at `addresses`, unspecified ones among them, and those in the settings of `snapshot`.
    #[must_use]
    pub(crate) fn new(
        addresses: impl IntoIterator<Item = SocketAddr>,
        snapshot: Arc<ArcSwap<Snapshot>>,
    ) -> Self {
        let (stack, addresses) = (network_stack().to_owned(), addresses.into_iter().collect());
        Self { own: Arc::new(ProcessListeners { stack, addresses }), snapshot }
    }

    /// Returns this node's listeners as they are seen from elsewhere now. Where the system does not tell its addresses,
    /// those of unspecified listeners are not known.
    #[must_use]
    pub(crate) fn seen_from_elsewhere(&self) -> ProcessListeners {
        let ProcessListeners { stack, addresses } = &*self.own;
        let addresses = reachable(addresses).unwrap_or_else(|error| {
            debug!(%error, "the addresses of this machine are not known");
            addresses.clone()
        });
        ProcessListeners { stack: stack.clone(), addresses }
    }

    /// Returns whether a connection from `local` to `peer` ends at a listener of ours. An address that dials itself is
    /// this machine's.
    fn is_at(&self, local: SocketAddr, peer: SocketAddr) -> bool {
        let (from, to) = (local.ip().to_canonical(), peer.ip().to_canonical());
        let is_local = from == to || to.is_loopback() || to.is_unspecified();
        let seen = StackAddress { stack: &self.own.stack, address: peer, is_local };
        let snapshot = self.snapshot.load();
        let others = snapshot.settings.iter().flat_map(|settings| &settings.listeners);
        std::iter::once(&*self.own).chain(others).any(|listeners| listeners.are_at(seen))
    }
}

impl fmt::Debug for Ourselves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ourselves").field(&self.own).finish()
    }
}

impl DialError {
    /// Returns the proxy error type of RFC 9209 §2.3.
    #[must_use]
    pub(crate) const fn proxy_error(self) -> &'static str {
        match self {
            Self::Refused => "connection_refused",
            Self::Timeout => "connection_timeout",
            Self::Unroutable => "destination_ip_unroutable",
            Self::Exhausted => "connection_limit_reached",
            Self::Ourselves => "proxy_loop_detected",
            Self::Other(_) => "destination_unavailable",
        }
    }
}

impl Dialer {
    /// Connects to `address` within `limit`.
    pub(crate) async fn dial(
        &self,
        address: SocketAddr,
        limit: Duration,
    ) -> Result<BackendStream, DialError> {
        let begun = Instant::now();
        let stream = timeout(limit, TcpStream::connect(address)).await.map_err(|_| DialError::Timeout)??;
        if self.ourselves.is_at(stream.local_addr()?, stream.peer_addr()?) {
            return Err(DialError::Ourselves);
        }
        Ok(BackendStream::new(stream, self.ack_timeout, begun.elapsed())?)
    }
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionRefused | Kind::ConnectionReset => Self::Refused,
            Kind::TimedOut => Self::Timeout,
            Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => Self::Unroutable,
            Kind::AddrNotAvailable | Kind::QuotaExceeded => Self::Exhausted,
            // EMFILE and ENFILE have no kind of their own.
            _ if matches!(error.raw_os_error(), Some(23 | 24)) => Self::Exhausted,
            kind => Self::Other(kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_listeners_are_known_whatever_they_are_called() {
        let at = |listener: &str, local: &str, peer: &str| {
            // Another listener is never in the way.
            let listeners = ["192.0.2.1:9180", listener].map(|address| address.parse().unwrap());
            Ourselves::new(listeners, Arc::default()).is_at(local.parse().unwrap(), peer.parse().unwrap())
        };
        for (listener, local, peer) in [
            ("[::]:443", "[400::1]:5000", "[400::1]:443"),
            ("[::]:53", "[400::1]:5000", "[400::1]:53"),
            ("[::]:443", "[::1]:5000", "[::1]:443"),
            ("[::]:443", "127.0.0.1:5000", "127.0.0.1:443"),
            ("[::]:443", "192.0.2.7:5000", "192.0.2.7:443"),
            ("[::]:443", "[::ffff:127.0.0.1]:5000", "127.0.0.1:443"),
            ("[::]:443", "[::ffff:192.0.2.7]:5000", "[::ffff:192.0.2.7]:443"),
            ("0.0.0.0:443", "127.0.0.1:5000", "127.0.0.2:443"),
            ("0.0.0.0:443", "192.0.2.7:5000", "[::ffff:192.0.2.7]:443"),
            ("0.0.0.0:443", "127.0.0.1:5000", "0.0.0.0:443"),
            ("[400::1]:443", "[400::2]:5000", "[400::1]:443"),
            ("127.0.0.1:9180", "127.0.0.1:5000", "[::ffff:127.0.0.1]:9180"),
            ("[::ffff:127.0.0.1]:9180", "127.0.0.1:5000", "127.0.0.1:9180"),
        ] {
            assert!(at(listener, local, peer), "{peer} is {listener}");
        }
        for (listener, local, peer, what) in [
            ("[::]:443", "[400::1]:5000", "[400::2]:443", "another machine"),
            ("[::]:443", "[400::1]:5000", "[400::1]:8443", "another port"),
            ("0.0.0.0:443", "[400::1]:5000", "[400::1]:443", "IPv4 alone"),
            ("127.0.0.1:443", "127.0.0.1:5000", "127.0.0.2:443", "another server of this machine"),
            ("[400::1]:443", "[400::2]:5000", "[400::2]:443", "another server of this machine"),
        ] {
            assert!(!at(listener, local, peer), "{peer} is {what}, not {listener}");
        }
    }
}
