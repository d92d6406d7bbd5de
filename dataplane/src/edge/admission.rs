//! The admission of accepted connections: finds out the client's address, which a load balancer may announce, and
//! applies the limits on the client's network.
//!
//! A trusted load balancer must announce every client: if the header were optional, a client that reaches the load
//! balancer could begin its own bytes with one and choose its address. A header from anybody else has no meaning.

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;

use crate::connections::OpenConnection;
use crate::context::WorkerContext;
use crate::metrics::Refusal;
use crate::proxy_protocol::{Announcement, Endpoints, HeaderError, MAX_HEADER, Origin, decode};

/// A connection that was accepted and not yet read from.
pub(crate) struct AcceptedConnection {
    /// The permit of the connection.
    pub open: OpenConnection,
    /// The connection.
    pub stream: TcpStream,
    /// The address of its other end.
    pub peer: SocketAddr,
    /// Is true if it begins with a TLS handshake.
    pub is_tls: bool,
}

/// A connection of a known client that is within the limits. Its next byte is the client's first one.
pub(crate) struct AdmittedConnection {
    /// The permit of the connection.
    pub open: OpenConnection,
    /// The connection.
    pub stream: TcpStream,
    /// The origin of the connection; boxed, because connections are moved often.
    pub origin: Box<Origin>,
}

/// The reason why no header was read.
#[derive(Debug, PartialEq, Eq, Error)]
enum ReadError {
    /// The header is not valid.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The connection ended before its first byte, as that of a health check may.
    #[error("the connection ended before its first byte")]
    Closed,
    /// The header was not complete in time.
    #[error("the PROXY protocol header did not come in time")]
    Timeout,
}

impl ReadError {
    const fn refusal(&self) -> Refusal {
        match self {
            Self::Header(_) => Refusal::ProxyHeader,
            Self::Closed => Refusal::Closed,
            Self::Timeout => Refusal::ProxyHeaderTimeout,
        }
    }
}

/// Admits a connection and serves it in a task of its own, or resets it.
pub(crate) fn admit<F: Future<Output = ()> + 'static>(
    worker: Rc<WorkerContext>,
    accepted: AcceptedConnection,
    serve: impl FnOnce(Rc<WorkerContext>, AdmittedConnection) -> F + 'static,
) {
    let tasks = worker.tasks.clone();
    if worker.trusted_balancers.contain(accepted.peer.ip()) {
        tasks.spawn("connection", async move {
            if let Some(admitted) = Box::pin(admit_announced(&worker, accepted)).await {
                serve(worker, admitted).await;
            }
        });
        return;
    }
    // A closed connection has no addresses; the first read reports it.
    let local = accepted.stream.local_addr().unwrap_or(accepted.peer);
    let endpoints = Endpoints::new(accepted.peer, local);
    if let Some(admitted) = admit_client(&worker, accepted, endpoints) {
        tasks.spawn("connection", serve(worker, admitted));
    }
}

/// Counts the connection for the client's network, or resets it.
fn admit_client(
    worker: &WorkerContext,
    accepted: AcceptedConnection,
    endpoints: Endpoints,
) -> Option<AdmittedConnection> {
    let AcceptedConnection { mut open, stream, is_tls, .. } = accepted;
    let quota = worker.limits.network_quota();
    match worker.network_limits.admit(endpoints.client(), quota, is_tls, Instant::now()) {
        Ok(counted) => {
            open.keep(counted);
            Some(AdmittedConnection { open, stream, origin: Box::new(Origin::new(endpoints)) })
        }
        Err(reason) => {
            worker.metrics.count_refusal(reason);
            worker.refusal_log.report(reason, endpoints.client(), "the client's network is over its limit");
            // A reset leaves nothing behind in the kernel. It fails only for a connection that has ended.
            let _ = stream.set_zero_linger();
            None
        }
    }
}

/// Reads the header of a load balancer, and admits the client that it announces. The load balancer's own connections
/// are not limited.
async fn admit_announced(worker: &WorkerContext, accepted: AcceptedConnection) -> Option<AdmittedConnection> {
    let arrived = worker.connections.enter(None);
    let read = tokio::select! {
        read = timeout(worker.limits.hello_timeout, read_header(&accepted.stream)) => read,
        () = arrived.watch().lingered() => return None,
    };
    match read.unwrap_or(Err(ReadError::Timeout)) {
        Ok(Announcement::Client(endpoints)) => admit_client(worker, accepted, endpoints),
        Ok(Announcement::Sender) => {
            let AcceptedConnection { open, stream, peer, .. } = accepted;
            let endpoints = Endpoints::new(peer, stream.local_addr().unwrap_or(peer));
            Some(AdmittedConnection { open, stream, origin: Box::new(Origin::new(endpoints)) })
        }
        Err(error) => {
            let reason = error.refusal();
            worker.metrics.count_refusal(reason);
            debug!(peer = %accepted.peer, %error, "connection of a load balancer refused");
            if error != ReadError::Closed {
                worker.refusal_log.report(reason, accepted.peer.ip().to_canonical(), error);
            }
            None
        }
    }
}

/// Reads a header, and no byte after it: bytes are first looked at, and taken only if they belong to it. The caller
/// sets the time limit.
async fn read_header(stream: &TcpStream) -> Result<Announcement, ReadError> {
    let mut bytes = Vec::new();
    loop {
        let known = bytes.len();
        bytes.resize((2 * known).clamp(256, MAX_HEADER), 0);
        let space = bytes.get_mut(known..).unwrap_or_default();
        let seen = known + stream.peek(space).await.unwrap_or(0);
        if seen == known {
            return Err(if known == 0 { ReadError::Closed } else { HeaderError::Truncated.into() });
        }
        let read = decode(bytes.get(..seen).unwrap_or_default())?;
        let size = read.map_or(seen, |(_, size)| size);
        take(stream, bytes.get_mut(known..size).unwrap_or_default()).await?;
        if let Some((announcement, _)) = read {
            return Ok(announcement);
        }
        bytes.truncate(size);
    }
}

/// Takes bytes that are in the receive buffer already.
async fn take(stream: &TcpStream, mut space: &mut [u8]) -> Result<(), ReadError> {
    while !space.is_empty() {
        match stream.try_read(space) {
            Ok(0) => return Err(HeaderError::Truncated.into()),
            Ok(taken) => space = space.get_mut(taken..).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let ready = stream.readable().await;
                ready.map_err(|_| HeaderError::Truncated)?;
            }
            Err(_) => return Err(HeaderError::Truncated.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        sender.set_nodelay(true).unwrap();
        (sender, listener.accept().await.unwrap().0)
    }

    /// Sends `bytes` in two pieces; returns the result of reading a header, and the bytes left after it.
    async fn read_in_two(bytes: &[u8], at: usize) -> (Result<Announcement, ReadError>, Vec<u8>) {
        let (mut sender, mut receiver) = pair().await;
        let (first, second) = bytes.split_at(at);
        let sending = async move {
            sender.write_all(first).await.unwrap();
            tokio::task::yield_now().await;
            sender.write_all(second).await.unwrap();
        };
        let (read, ()) = tokio::join!(read_header(&receiver), sending);
        let mut rest = Vec::new();
        let _ = receiver.read_to_end(&mut rest).await;
        (read, rest)
    }

    #[tokio::test]
    async fn a_header_is_read_up_to_its_end_in_any_fragmentation() {
        let client = Announcement::Client(Endpoints::new(
            "192.0.2.1:1".parse().unwrap(),
            "198.51.100.2:443".parse().unwrap(),
        ));
        let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x02\0\x01\x01\xbb";
        let extended = [&v2[..14], &[0x04, 0x0c], &v2[16..], &[4, 3, 0xfd], &[0; 0x3fd]].concat();
        for (header, expected) in [
            (&b"PROXY TCP4 192.0.2.1 198.51.100.2 1 443\r\n"[..], client),
            (b"PROXY UNKNOWN\r\n", Announcement::Sender),
            (v2, client),
            (&extended, client),
        ] {
            let all = [header, b"PROXY is not a header here"].concat();
            for at in (0..header.len().min(64)).chain([header.len() - 1, header.len(), header.len() + 1]) {
                let (read, rest) = read_in_two(&all, at).await;
                assert_eq!(read, Ok(expected), "{at}");
                assert_eq!(rest, all[header.len()..], "{at}");
            }
        }
    }

    #[tokio::test]
    async fn an_incomplete_header_is_an_error() {
        let header = b"PROXY TCP4 192.0.2.1 198.51.100.2 1 443\r\n";
        for at in 0..header.len() {
            let expected = match at {
                0 => ReadError::Closed,
                _ => HeaderError::Truncated.into(),
            };
            assert_eq!(read_in_two(&header[..at], at / 2).await.0, Err(expected), "{at}");
        }
        assert_eq!(read_in_two(b"GET / HTTP/1.1\r\n", 3).await.0, Err(HeaderError::Missing.into()));
    }
}
