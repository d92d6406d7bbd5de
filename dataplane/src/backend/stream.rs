//! A connection to a backend. It fails within seconds when the backend's host is gone, and bears one that reads slowly.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::socket::Socket;

/// The bytes that any host takes and acknowledges before its application has read one of them.
const ACKNOWLEDGED_UNREAD: usize = 16 * 1024;

/// The size up to which the buffer that answers are read into grows, unless a head needs more, in bytes. What a client
/// that takes nothing holds is up to two of them: one encrypted, one about to be.
pub(crate) const READ_BUFFER: usize = 32 * 1024;
/// The largest read, in bytes: the content of two full TLS records. hyper doubles a buffer that a read fills, and this
/// does not fill it.
const LARGEST: usize = 2 * (16 * 1024 - 22);
/// The largest read while the worker holds too much for its clients, in bytes.
const SMALLEST: usize = 8 * 1024 - 1;

/// The largest read of a connection to a backend, as those who take what is read set it.
#[derive(Debug)]
pub(crate) struct ReadLimit(AtomicUsize);

/// A connection to a backend.
///
/// What was sent must be acknowledged within a limit (`TCP_USER_TIMEOUT`, RFC 5482). To the kernel a closed window is as
/// good as silence, so the limit is lifted while more was sent than a host takes for an application that reads none of
/// it: an upload may wait. The next byte that the backend sends sets it again.
#[derive(Debug)]
pub(crate) struct BackendStream {
    socket: Socket,
    limit: Duration,
    is_limited: bool,
    round_trip: Duration,
    /// The bytes sent since the last one was received.
    unanswered: usize,
    reads: Arc<ReadLimit>,
}

impl Default for ReadLimit {
    fn default() -> Self {
        Self(LARGEST.into())
    }
}

impl ReadLimit {
    /// Makes reads small, or as large as they may be.
    pub(crate) fn set(&self, is_scarce: bool) {
        self.0.store(if is_scarce { SMALLEST } else { LARGEST }, Relaxed);
    }

    fn get(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl BackendStream {
    /// Takes over a new connection, which took `round_trip` to open; what it sends is to be acknowledged within `limit`.
    pub(super) fn new(stream: TcpStream, limit: Duration, round_trip: Duration) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_user_timeout(Some(limit))?;
        Ok(Self {
            socket: Socket(stream),
            limit,
            is_limited: true,
            round_trip,
            unanswered: 0,
            reads: Arc::default(),
        })
    }

    /// Returns the time that it took to connect: one round trip, or more.
    #[must_use]
    pub(super) fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// Returns the limit of its reads.
    #[must_use]
    pub(super) fn reads(&self) -> &Arc<ReadLimit> {
        &self.reads
    }

    /// Makes the end of the connection a reset.
    pub(crate) fn reset_at_end(&self) -> io::Result<()> {
        self.socket.0.set_zero_linger()
    }

    fn sent(&mut self, count: usize) {
        self.unanswered = self.unanswered.saturating_add(count);
        if self.is_limited && self.unanswered > ACKNOWLEDGED_UNREAD {
            self.limit(false);
        }
    }

    fn received(&mut self) {
        self.unanswered = 0;
        if !self.is_limited {
            self.limit(true);
        }
    }

    fn limit(&mut self, limited: bool) {
        self.is_limited = limited;
        // It fails for a connection that has failed.
        let _ = SockRef::from(&self.socket.0).set_tcp_user_timeout(limited.then_some(self.limit));
    }
}

impl AsyncRead for BackendStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(this.socket.poll_read_at_most(cx, buf, this.reads.get()))?;
        if buf.filled().len() > before {
            this.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BackendStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.socket).poll_write(cx, buf))?;
        this.sent(count);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.socket).poll_write_vectored(cx, bufs))?;
        this.sent(count);
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    async fn pair(limit: Duration) -> (BackendStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (BackendStream::new(dialled, limit, Duration::ZERO).unwrap(), listener.accept().await.unwrap().0)
    }

    fn limit(stream: &BackendStream) -> Option<Duration> {
        SockRef::from(&stream.socket.0).tcp_user_timeout().unwrap()
    }

    #[tokio::test]
    async fn the_limit_is_lifted_for_what_may_wait_to_be_read_and_set_again_with_the_next_answer() {
        let seconds = Duration::from_secs(15);
        let (mut stream, mut backend) = pair(seconds).await;
        assert_eq!(limit(&stream), Some(seconds));
        stream.write_all(&[0; ACKNOWLEDGED_UNREAD]).await.unwrap();
        assert_eq!(limit(&stream), Some(seconds), "any host takes so much");
        stream.write_all(&[0]).await.unwrap();
        assert_eq!(limit(&stream), None);
        backend.write_all(b"x").await.unwrap();
        stream.read_u8().await.unwrap();
        assert_eq!(limit(&stream), Some(seconds));
        stream.write_all(&[0; ACKNOWLEDGED_UNREAD]).await.unwrap();
        assert_eq!(limit(&stream), Some(seconds), "it counts from the last answer");
    }

    #[tokio::test]
    async fn a_backend_that_reads_late_gets_all_of_it() {
        const MANY: usize = 8 * 1024 * 1024;
        let (mut stream, mut backend) = pair(Duration::from_millis(50)).await;
        let mut sending = pin!(async {
            stream.write_all(&vec![7; MANY]).await?;
            stream.shutdown().await
        });
        // With the limit the kernel gives up at a probe of the closed window: the first one is due after 200 ms.
        timeout(Duration::from_millis(1500), &mut sending).await.unwrap_err();
        let mut all = Vec::new();
        let (sent, read) = tokio::join!(sending, backend.read_to_end(&mut all));
        sent.unwrap();
        read.unwrap();
        assert_eq!(all.len(), MANY);
    }
}
