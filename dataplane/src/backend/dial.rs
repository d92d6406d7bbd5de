//! Connecting to a backend, and naming what went wrong.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Why a backend cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DialError {
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// It did not answer in time.
    #[error("no answer in time")]
    Timeout,
    /// There is no way there.
    #[error("no route to it")]
    Unroutable,
    /// This node is out of sockets.
    #[error("this node is out of sockets")]
    Exhausted,
    /// Anything else.
    #[error("cannot connect ({0})")]
    Other(io::ErrorKind),
}

/// Connects within `limit`.
pub async fn dial(address: SocketAddr, limit: Duration) -> Result<TcpStream, DialError> {
    let stream = timeout(limit, TcpStream::connect(address)).await.map_err(|_| DialError::Timeout)??;
    stream.set_nodelay(true)?;
    Ok(stream)
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
