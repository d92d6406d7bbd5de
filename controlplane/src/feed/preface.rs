//! A connection that must begin as HTTP/2 does, soon; anything else is cut and counted.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::{Sleep, sleep};
use tonic::transport::server::Connected;

/// What every HTTP/2 client sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream that fails as soon as it is seen not to begin with [`PREFACE`], or does not within a limit.
pub(super) struct Guarded {
    stream: UnixStream,
    seen: usize,
    limit: Option<Pin<Box<Sleep>>>,
    garbage: Counter,
}

impl Guarded {
    pub(super) fn new(stream: UnixStream, limit: Duration, garbage: Counter) -> Self {
        Self { stream, seen: 0, limit: Some(Box::pin(sleep(limit))), garbage }
    }

    fn refuse(&self, what: &'static str) -> Poll<io::Result<()>> {
        self.garbage.inc();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, what)))
    }

    /// Whether what was read fits the preface so far.
    fn check(&mut self, read: &[u8]) -> bool {
        let expected = &PREFACE[self.seen..];
        let compared = expected.len().min(read.len());
        self.seen += compared;
        if self.seen == PREFACE.len() {
            self.limit = None;
        }
        expected[..compared] == read[..compared]
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(limit) = &mut self.limit else {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        };
        if limit.as_mut().poll(cx).is_ready() {
            return self.refuse("nothing came in time");
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let cut_short = buf.filled().len() == before;
        if cut_short || !self.check(&buf.filled()[before..]) {
            return self.refuse("this is not HTTP/2");
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
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

impl Connected for Guarded {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}
