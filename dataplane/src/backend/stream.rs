//! A TCP connection to a backend. It fails within seconds if the host is gone, and tolerates a backend that reads
//! slowly.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::socket::Socket;

/// The number of bytes that any host acknowledges before its application reads.
const ACKNOWLEDGED_UNREAD: usize = 16 * 1024;

/// The maximum size of the read buffer of a connection, in bytes, unless response heads may be larger.
pub(crate) const READ_BUFFER: usize = 32 * 1024;
/// The maximum size of a read, in bytes: the content of a full TLS record. It is less than the buffer, as hyper
/// doubles a buffer that a read has filled. A client that does not read holds up to two reads: one is encrypted, one
/// waits. Reads of two records cost 0.7 times the CPU per GB, but such a client holds 141 KiB in all instead of 106.
const MAX_READ: usize = 16 * 1024 - 22;
/// The maximum size of a read while the worker's backlog is over its limit, in bytes.
const MAX_SMALL_READ: usize = 8 * 1024 - 1;

/// The idle time before the first TCP keepalive probe of a shared connection, and the time between two probes.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(5));
/// The number of unanswered keepalive probes that end a shared connection.
const KEEPALIVE_RETRIES: u32 = 3;

/// The state of a backend connection that its current request controls.
#[derive(Debug)]
pub(crate) struct StreamControl {
    /// The maximum size of a read, in bytes.
    max_read: AtomicUsize,
    in_flight: AtomicBool,
}

/// A connection to a backend.
///
/// Sent bytes must be acknowledged within a timeout (`TCP_USER_TIMEOUT`, RFC 5482). The kernel applies it to a closed
/// receive window as well, and a backend may let an upload wait. So the timeout is removed once more bytes are
/// unanswered than a host acknowledges on its own, and set again when the backend sends something.
#[derive(Debug)]
pub(crate) struct BackendStream {
    socket: Socket,
    ack_timeout: Duration,
    is_timeout_set: bool,
    round_trip: Duration,
    /// The number of bytes sent since the last received byte.
    unanswered: usize,
    control: Arc<StreamControl>,
}

impl Default for StreamControl {
    fn default() -> Self {
        Self { max_read: MAX_READ.into(), in_flight: AtomicBool::new(false) }
    }
}

impl StreamControl {
    /// Makes reads small or large.
    pub(crate) fn set_small_reads(&self, is_small: bool) {
        self.max_read.store(if is_small { MAX_SMALL_READ } else { MAX_READ }, Relaxed);
    }

    /// Records whether a request is sent whose response has not ended. A connection that is dropped meanwhile ends with
    /// a reset: the backend can stop its work at once, and no port waits in TIME_WAIT. Otherwise clients that cancel
    /// many requests use up the ports towards a backend.
    pub(crate) fn set_in_flight(&self, in_flight: bool) {
        self.in_flight.store(in_flight, Relaxed);
    }
}

impl BackendStream {
    /// Wraps a new connection. `ack_timeout` is the time for the host to acknowledge sent bytes, `round_trip` the time
    /// that connecting took.
    pub(super) fn new(stream: TcpStream, ack_timeout: Duration, round_trip: Duration) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_user_timeout(Some(ack_timeout))?;
        Ok(Self {
            socket: Socket(stream),
            ack_timeout,
            is_timeout_set: true,
            round_trip,
            unanswered: 0,
            control: Arc::default(),
        })
    }

    /// Returns the time that connecting took: one round trip or more.
    #[must_use]
    pub(super) fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// Returns the state that requests control.
    #[must_use]
    pub(super) fn control(&self) -> &Arc<StreamControl> {
        &self.control
    }

    /// Makes the kernel detect that the host is gone even while nothing is sent, as on a connection whose streams wait
    /// for the backend. gRPC servers close connections with frequent HTTP/2 pings (`too_many_pings`), so TCP probes.
    pub(crate) fn keep_alive(&self) -> io::Result<()> {
        let (time, interval) = KEEPALIVE;
        let probes = TcpKeepalive::new().with_time(time).with_interval(interval);
        SockRef::from(&self.socket.0).set_tcp_keepalive(&probes.with_retries(KEEPALIVE_RETRIES))
    }

    /// Makes the connection end with a reset (RST) when it is dropped.
    pub(crate) fn reset_at_end(&self) -> io::Result<()> {
        self.socket.0.set_zero_linger()
    }

    fn record_sent(&mut self, count: usize) {
        self.unanswered = self.unanswered.saturating_add(count);
        if self.is_timeout_set && self.unanswered > ACKNOWLEDGED_UNREAD {
            self.set_timeout(false);
        }
    }

    fn record_received(&mut self) {
        self.unanswered = 0;
        if !self.is_timeout_set {
            self.set_timeout(true);
        }
    }

    fn set_timeout(&mut self, is_set: bool) {
        self.is_timeout_set = is_set;
        // An error means that the connection has failed, which the next read or write reports.
        let _ = SockRef::from(&self.socket.0).set_tcp_user_timeout(is_set.then_some(self.ack_timeout));
    }
}

impl Drop for BackendStream {
    fn drop(&mut self) {
        if self.control.in_flight.load(Relaxed) {
            // It fails for a connection that has ended already.
            let _ = self.reset_at_end();
        }
    }
}

impl AsyncRead for BackendStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(this.socket.poll_read_at_most(cx, buf, this.control.max_read.load(Relaxed)))?;
        if buf.filled().len() > before {
            this.record_received();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BackendStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.socket).poll_write(cx, buf))?;
        this.record_sent(count);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.socket).poll_write_vectored(cx, bufs))?;
        this.record_sent(count);
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

    async fn pair(ack_timeout: Duration) -> (BackendStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (
            BackendStream::new(dialled, ack_timeout, Duration::ZERO).unwrap(),
            listener.accept().await.unwrap().0,
        )
    }

    fn timeout_of(stream: &BackendStream) -> Option<Duration> {
        SockRef::from(&stream.socket.0).tcp_user_timeout().unwrap()
    }

    #[tokio::test]
    async fn the_ack_timeout_is_removed_for_unread_bytes_and_set_again_with_the_next_response() {
        let seconds = Duration::from_secs(15);
        let (mut stream, mut backend) = pair(seconds).await;
        assert_eq!(timeout_of(&stream), Some(seconds));
        stream.write_all(&[0; ACKNOWLEDGED_UNREAD]).await.unwrap();
        assert_eq!(timeout_of(&stream), Some(seconds), "any host acknowledges so much");
        stream.write_all(&[0]).await.unwrap();
        assert_eq!(timeout_of(&stream), None);
        backend.write_all(b"x").await.unwrap();
        stream.read_u8().await.unwrap();
        assert_eq!(timeout_of(&stream), Some(seconds));
        stream.write_all(&[0; ACKNOWLEDGED_UNREAD]).await.unwrap();
        assert_eq!(timeout_of(&stream), Some(seconds), "the count begins anew with each response");
    }

    #[tokio::test]
    async fn a_connection_dropped_during_a_request_is_reset() {
        for in_flight in [true, false] {
            let (mut stream, mut backend) = pair(Duration::from_secs(15)).await;
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            stream.control().set_in_flight(in_flight);
            drop(stream);
            let ended = backend.read_to_end(&mut Vec::new()).await.map_err(|error| error.kind());
            assert_eq!(
                ended.err(),
                in_flight.then_some(io::ErrorKind::ConnectionReset),
                "in flight: {in_flight}"
            );
        }
    }

    #[tokio::test]
    async fn reads_are_as_small_as_their_reader_says() {
        let (mut stream, mut backend) = pair(Duration::from_secs(15)).await;
        backend.write_all(&[7; 4 * MAX_READ]).await.unwrap();
        for (is_small, max) in [(false, MAX_READ), (true, MAX_SMALL_READ), (false, MAX_READ)] {
            stream.control().set_small_reads(is_small);
            assert_eq!(stream.read(&mut vec![0; 8 * MAX_READ]).await.unwrap(), max, "small: {is_small}");
        }
    }

    #[tokio::test]
    async fn a_backend_that_reads_late_receives_everything() {
        const MANY: usize = 8 * 1024 * 1024;
        let (mut stream, mut backend) = pair(Duration::from_millis(50)).await;
        let mut sending = pin!(async {
            stream.write_all(&vec![7; MANY]).await?;
            stream.shutdown().await
        });
        // With the timeout set, the kernel would fail the connection at a probe of the closed window, the first after
        // 200 ms.
        timeout(Duration::from_millis(1500), &mut sending).await.unwrap_err();
        let mut all = Vec::new();
        let (sent, read) = tokio::join!(sending, backend.read_to_end(&mut all));
        sent.unwrap();
        read.unwrap();
        assert_eq!(all.len(), MANY);
    }
}
