//! Connecting to a backend, with the proxy error types of RFC 9209 for failures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tracing::debug;
use webgateway_process::{network_stack, reachable};
use webgateway_proto::model::{ProcessListeners, StackAddress};

use super::stream::BackendStream;
use super::tls::{BackendTlsConfigs, TlsFault};
use crate::snapshot::Snapshot;

/// The reason why a backend cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum DialError {
    /// The host refused the connection: nothing listens at the port.
    #[error("connection refused")]
    Refused,
    /// The connection was not established in time.
    #[error("connection timed out")]
    Timeout,
    /// The network has no route to the backend's address.
    #[error("no route to host")]
    Unroutable,
    /// This node has no free ports or file descriptors.
    #[error("this node is out of sockets")]
    Exhausted,
    /// The address is a listener of this gateway, so the connection would loop.
    #[error("the address is a listener of this gateway")]
    OwnListener,
    /// The TLS handshake failed.
    #[error("{0}")]
    Tls(#[from] TlsFault),
    /// The backend did not begin HTTP/2, so that it probably speaks HTTP/1.1 only.
    #[error("it does not speak HTTP/2")]
    NoHttp2,
    /// All connections to the backend have as many concurrent streams as it allows.
    #[error("it allows no more concurrent requests")]
    Busy,
    /// Another error of the system.
    #[error("cannot connect ({0})")]
    Other(io::ErrorKind),
}

/// The listeners of this gateway: those of this node, and those of the controlplane and the other nodes, which the feed
/// announces.
///
/// They cannot be backends: a connection would loop (TLS bytes of a passthrough cannot be marked as requests are by
/// CDN-Loop), or a private listener would be public.
#[derive(Clone)]
pub(crate) struct OwnListeners {
    own: Arc<ProcessListeners>,
    snapshot: Arc<ArcSwap<Snapshot>>,
}

/// The options for connections to backends.
#[derive(Debug, Clone)]
pub(crate) struct Dialer {
    /// The gateway's own listeners, which cannot be backends.
    pub own_listeners: OwnListeners,
    /// The time for a backend's host to acknowledge sent bytes.
    pub ack_timeout: Duration,
    /// The TLS configurations of connections to backends.
    pub tls: BackendTlsConfigs,
}

impl OwnListeners {
    /// Creates the list: this node's listeners at `addresses`, which may be unspecified, and those in the settings of
    /// `snapshot`.
    #[must_use]
    pub(crate) fn new(
        addresses: impl IntoIterator<Item = SocketAddr>,
        snapshot: Arc<ArcSwap<Snapshot>>,
    ) -> Self {
        let (stack, addresses) = (network_stack().to_owned(), addresses.into_iter().collect());
        Self { own: Arc::new(ProcessListeners { stack, addresses }), snapshot }
    }

    /// Returns this node's listeners with unspecified addresses replaced by the current ones of this machine. If the
    /// system does not report its addresses, unspecified ones stay.
    #[must_use]
    pub(crate) fn reachable_listeners(&self) -> ProcessListeners {
        let ProcessListeners { stack, addresses } = &*self.own;
        let addresses = reachable(addresses).unwrap_or_else(|error| {
            debug!(%error, "cannot list the addresses of this machine");
            addresses.clone()
        });
        ProcessListeners { stack: stack.clone(), addresses }
    }

    /// Returns whether a connection from `local` to `peer` ends at a listener of this gateway. If both have the same
    /// address, the peer is this machine.
    fn contains(&self, local: SocketAddr, peer: SocketAddr) -> bool {
        let (from, to) = (local.ip().to_canonical(), peer.ip().to_canonical());
        let is_local = from == to || to.is_loopback() || to.is_unspecified();
        let seen = StackAddress { stack: &self.own.stack, address: peer, is_local };
        let snapshot = self.snapshot.load();
        let others = snapshot.settings.iter().flat_map(|settings| &settings.listeners);
        std::iter::once(&*self.own).chain(others).any(|listeners| listeners.are_at(seen))
    }
}

impl fmt::Debug for OwnListeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnListeners").field(&self.own).finish()
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
            Self::OwnListener => "proxy_loop_detected",
            Self::Tls(fault) => fault.proxy_error(),
            Self::NoHttp2 => "http_protocol_error",
            Self::Busy => "connection_limit_reached",
            Self::Other(_) => "destination_unavailable",
        }
    }

    /// Returns whether this node is at fault, not the backend.
    #[must_use]
    pub(crate) const fn is_own(self) -> bool {
        match self {
            Self::Exhausted | Self::Busy => true,
            Self::Tls(fault) => fault.is_own(),
            _ => false,
        }
    }
}

impl Dialer {
    /// Connects to `address` and sends `header`, a PROXY protocol header or nothing, within `limit`.
    pub(crate) async fn dial(
        &self,
        address: SocketAddr,
        header: &[u8],
        limit: Duration,
    ) -> Result<BackendStream, DialError> {
        let begun = Instant::now();
        let until = begun + limit;
        let connecting = timeout_at(until, TcpStream::connect(address)).await;
        let stream = connecting.map_err(|_| DialError::Timeout)??;
        if self.own_listeners.contains(stream.local_addr()?, stream.peer_addr()?) {
            return Err(DialError::OwnListener);
        }
        let mut stream = BackendStream::new(stream, self.ack_timeout, begun.elapsed())?;
        if !header.is_empty() {
            timeout_at(until, stream.write_all(header)).await.map_err(|_| DialError::Timeout)??;
        }
        Ok(stream)
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
            // The standard library has no kind for ENFILE (23) and EMFILE (24).
            _ if matches!(error.raw_os_error(), Some(23 | 24)) => Self::Exhausted,
            kind => Self::Other(kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_listeners_are_recognised_in_every_notation() {
        let contains = |listener: &str, local: &str, peer: &str| {
            // A second listener makes no difference.
            let listeners = ["192.0.2.1:9180", listener].map(|address| address.parse().unwrap());
            OwnListeners::new(listeners, Arc::default())
                .contains(local.parse().unwrap(), peer.parse().unwrap())
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
            assert!(contains(listener, local, peer), "{peer} is {listener}");
        }
        for (listener, local, peer, what) in [
            ("[::]:443", "[400::1]:5000", "[400::2]:443", "another machine"),
            ("[::]:443", "[400::1]:5000", "[400::1]:8443", "another port"),
            ("0.0.0.0:443", "[400::1]:5000", "[400::1]:443", "IPv4 alone"),
            ("127.0.0.1:443", "127.0.0.1:5000", "127.0.0.2:443", "another server of this machine"),
            ("[400::1]:443", "[400::2]:5000", "[400::2]:443", "another server of this machine"),
        ] {
            assert!(!contains(listener, local, peer), "{peer} is {what}, not {listener}");
        }
    }
}
