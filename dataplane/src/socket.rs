//! TCP streams: how they are written to, and how much the kernel takes ahead.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BufMut;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The bytes that the kernel takes of a client's connection ahead of what it has sent, so that what can be written shows
/// what the client takes, and a client that takes nothing holds little.
const UNSENT: u32 = 128 * 1024;
/// The silence of a client after which the kernel asks it for a sign of life, and the time between two questions.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(10));
/// The questions without an answer that end the connection.
const MAX_MISSING_RESPONSES: u32 = 3;

/// Prepares a client's connection.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    let (time, interval) = KEEPALIVE;
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(MAX_MISSING_RESPONSES),
    )
}

/// A TCP stream for HTTP and TLS. It writes a single buffer with `send`: the kernel takes it for less than a `writev` of
/// one.
#[derive(Debug)]
pub(crate) struct Socket(pub TcpStream);

impl Socket {
    /// Reads, but at most `largest` bytes.
    pub(crate) fn poll_read_at_most(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        largest: usize,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() <= largest {
            return Pin::new(&mut self.0).poll_read(cx, buf);
        }
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read_buf(&mut (&mut *buf).limit(largest)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(drop)),
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.get_mut().0);
        match bufs {
            [only] => stream.poll_write(cx, only),
            several => stream.poll_write_vectored(cx, several),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
