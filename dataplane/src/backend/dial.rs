//! Connecting to a backend, and naming what went wrong.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::stream::BackendStream;

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

/// The listeners of this gateway: a backend there would bring a connection back for ever, and bytes that pass through
/// cannot be marked as HTTP requests are; or it would show the public what is meant for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ourselves(Vec<SocketAddr>);

/// The terms on which backends are connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dialer {
    /// The gateway's own listeners, where no backend may be.
    pub ourselves: Ourselves,
    /// The time for a backend's host to acknowledge what it was sent.
    pub ack_timeout: Duration,
}

impl Ourselves {
    /// Returns those at `listeners`, unspecified addresses among them.
    #[must_use]
    pub(crate) fn new(listeners: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self(listeners.into_iter().collect())
    }

    /// Returns whether a connection from `local` to `peer` ends at a listener of ours. An address that dials itself is
    /// this machine's. IPv6's unspecified address stands for those of IPv4 too, as listening on it most often does.
    fn is_at(&self, local: SocketAddr, peer: SocketAddr) -> bool {
        let (from, to) = (local.ip().to_canonical(), peer.ip().to_canonical());
        let is_local = from == to || to.is_loopback() || to.is_unspecified();
        self.0.iter().filter(|listener| listener.port() == peer.port()).any(|listener| {
            match listener.ip().to_canonical() {
                IpAddr::V4(ip) if ip.is_unspecified() => is_local && to.is_ipv4(),
                IpAddr::V6(ip) if ip.is_unspecified() => is_local,
                ip => ip == to,
            }
        })
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
            Ourselves::new(listeners).is_at(local.parse().unwrap(), peer.parse().unwrap())
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
