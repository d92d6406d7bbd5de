//! A connection that is closed and counted unless it begins with the HTTP/2 client preface within a time limit.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;
use webgateway_process::{Network, Slot};

use super::peer::Peer;

/// The HTTP/2 client connection preface (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The maximum lifetime of a connection of a peer that is not enrolled. It suffices to enrol.
const UNENROLLED_LIFETIME: Duration = Duration::from_secs(20);

/// The transport of a connection.
pub(super) enum Transport {
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection to the feed. Reads fail if it does not begin with [`PREFACE`] within a time limit.
pub(super) struct FeedConnection {
    stream: Transport,
    peer: Peer,
    /// The number of bytes of the preface that were read.
    matched: usize,
    /// The time limit of the preface; `None` after the preface.
    limit: Option<Pin<Box<Sleep>>>,
    /// The remaining lifetime and the slot of a peer that is not enrolled.
    unenrolled: Option<(Pin<Box<Sleep>>, Slot<Network>)>,
    protocol_errors: Counter,
}

impl FeedConnection {
    pub(super) fn new(stream: Transport, peer: Peer, limit: Duration, protocol_errors: Counter) -> Self {
        Self {
            stream,
            peer,
            matched: 0,
            limit: Some(Box::pin(sleep(limit))),
            unenrolled: None,
            protocol_errors,
        }
    }

    /// Marks the peer as not enrolled: the connection ends after [`UNENROLLED_LIFETIME`], or earlier if its slot is
    /// evicted.
    pub(super) fn unenrolled(mut self, slot: Slot<Network>) -> Self {
        self.unenrolled = Some((Box::pin(sleep(UNENROLLED_LIFETIME)), slot));
        self
    }

    fn refuse(&self, reason: &'static str) -> Poll<io::Result<()>> {
        self.protocol_errors.inc();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, reason)))
    }

    /// Returns true if the bytes `read` continue the preface.
    fn is_preface(&mut self, read: &[u8]) -> bool {
        let expected = &PREFACE[self.matched..];
        let compared = expected.len().min(read.len());
        self.matched += compared;
        if self.matched == PREFACE.len() {
            self.limit = None;
        }
        expected[..compared] == read[..compared]
    }
}

impl AsyncRead for FeedConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some((lifetime, slot)) = &mut self.unenrolled
            && (lifetime.as_mut().poll(cx).is_ready() || slot.poll_evicted(cx).is_ready())
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let Some(limit) = &mut self.limit else {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        };
        if limit.as_mut().poll(cx).is_ready() {
            return self.refuse("no HTTP/2 preface in time");
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let is_eof = buf.filled().len() == before;
        if is_eof || !self.is_preface(&buf.filled()[before..]) {
            return self.refuse("not HTTP/2");
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for FeedConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Connected for FeedConnection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer
    }
}
