//! The IO of a client's HTTP connection. It distinguishes a client that has only shut down its sending half from one
//! that has closed the connection, and closes without a reset that would destroy the last response.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Buf;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout, timeout_at};

/// The maximum time for which excess input is read and discarded before the connection is closed (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(30);
/// The time without input that ends the discarding earlier.
const SILENCE: Duration = Duration::from_secs(5);
/// The number of discarded bytes that ends the discarding earlier.
const LINGER_BYTES: usize = 64 * 1024 * 1024;

/// The interval of checks whether a client that waits for long has ended its input.
const LOOK: Duration = Duration::from_millis(500);
/// The time after the end of a client's input in which a long-running request is still answered.
const END_TIMEOUT: Duration = Duration::from_secs(3);

/// The HTTP version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, where the server reads nothing while a request is in flight.
    Http1,
    /// HTTP/2, where the end of the input ends the connection.
    Http2,
}

/// A client's connection, with TLS or without.
#[derive(Debug)]
pub struct ClientIo<I> {
    io: I,
    protocol: Protocol,
    state: Arc<ClientState>,
    /// A byte of the next request, which was read while the previous one was in flight.
    ahead: Option<u8>,
    wrote_since_flush: bool,
    /// The bytes written since the last complete flush.
    unsent: usize,
    /// True if no request is in flight and everything is written.
    is_settled: bool,
    linger: Option<Box<Linger>>,
}

/// The state of a client's connection, shared between its IO and the service.
#[derive(Debug, Default)]
pub struct ClientState {
    in_flight: AtomicBool,
    waiting: AtomicBool,
    input_ended: AtomicBool,
    unread: AtomicBool,
    written: AtomicBool,
    upgraded: AtomicBool,
    blocked: AtomicUsize,
}

/// The wait for the end of the client's input after the server has shut down its sending half.
#[derive(Debug)]
struct Linger {
    until: Instant,
    left: usize,
    silence: Pin<Box<Sleep>>,
    is_sending: bool,
}

impl ClientState {
    /// Sets whether a request is in flight. A request in flight accounts for all input that was read before.
    pub fn set_in_flight(&self, in_flight: bool) {
        self.in_flight.store(in_flight, Relaxed);
        if in_flight {
            self.unread.store(false, Relaxed);
        }
    }

    /// Sets whether the client has sent its request and waits for the response.
    pub fn set_waiting(&self, waiting: bool) {
        self.waiting.store(waiting, Relaxed);
    }

    /// Sets whether there may be input that no request will read.
    pub fn set_unread(&self, unread: bool) {
        self.unread.store(unread, Relaxed);
    }

    /// Returns whether the end of the client's input was read.
    #[must_use]
    pub fn has_input_ended(&self) -> bool {
        self.input_ended.load(Relaxed)
    }

    /// Resolves [`END_TIMEOUT`] after the end of the client's input. By then the client has most likely closed the
    /// connection, and must not hold scarce resources. For requests that may wait for long.
    pub async fn gone(&self) {
        while !self.has_input_ended() {
            sleep(LOOK).await;
        }
        sleep(END_TIMEOUT).await;
    }

    /// Sets that the connection switches from HTTP to another protocol.
    pub fn set_upgraded(&self) {
        self.upgraded.store(true, Relaxed);
    }

    /// Returns whether the connection has switched to another protocol.
    pub(crate) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Relaxed)
    }

    /// Returns the number of written bytes that wait until the client reads; 0 while it keeps up.
    #[must_use]
    pub fn blocked(&self) -> usize {
        self.blocked.load(Relaxed)
    }

    /// Returns whether bytes were written since the last call.
    #[must_use]
    pub fn take_written(&self) -> bool {
        self.written.swap(false, Relaxed)
    }
}

impl<I> ClientIo<I> {
    /// Wraps `io` for a connection with `protocol`.
    #[must_use]
    pub fn new(io: I, protocol: Protocol, state: Arc<ClientState>) -> Self {
        let (wrote_since_flush, is_settled) = (false, true);
        Self { io, protocol, state, ahead: None, wrote_since_flush, unsent: 0, is_settled, linger: None }
    }

    fn note_written(&mut self, count: usize) {
        self.wrote_since_flush = true;
        self.unsent = self.unsent.saturating_add(count);
        self.state.written.store(true, Relaxed);
    }

    fn note_blocked<T>(&mut self, polled: Poll<T>) -> Poll<T> {
        if polled.is_pending() {
            self.state.blocked.store(self.unsent.max(1), Relaxed);
        }
        polled
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> ClientIo<I> {
    /// Fails if the connection was reset. The end of the input is no failure, because the client may still read: a full
    /// close looks the same until the first write is answered with a reset.
    fn look_ahead(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let ClientState { waiting, input_ended, .. } = &*self.state;
        if !waiting.load(Relaxed) || self.ahead.is_some() || input_ended.load(Relaxed) {
            return Ok(());
        }
        let mut byte = [0];
        let mut next = ReadBuf::new(&mut byte);
        if let Poll::Ready(read) = Pin::new(&mut self.io).poll_read(cx, &mut next) {
            read?;
            self.ahead = next.filled().first().copied();
            if self.ahead.is_none() {
                input_ended.store(true, Relaxed);
            }
        }
        Ok(())
    }

    /// Withholds the end of the input until all requests are answered, because hyper's HTTP/2 would drop them.
    fn poll_ended(&mut self) -> Poll<io::Result<()>> {
        self.state.input_ended.store(true, Relaxed);
        if self.protocol == Protocol::Http2 && (!self.is_settled || self.state.in_flight.load(Relaxed)) {
            // The writing of the response wakes the task.
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Marks the connection as settled. hyper may flush a part of its queue, so that only a flush without a write
    /// before it shows that the queue is empty.
    fn settle(&mut self, cx: &mut Context<'_>) {
        let wrote = std::mem::take(&mut self.wrote_since_flush);
        let is_idle = !self.state.in_flight.load(Relaxed);
        let was_settled = std::mem::replace(&mut self.is_settled, is_idle && !wrote);
        if is_idle && self.state.has_input_ended() && !was_settled {
            cx.waker().wake_by_ref();
        }
    }

    /// Reads and discards input after the server's end, if there is more to come. Closing with unread input would send
    /// a reset, which destroys the part of the response that the client has not read yet.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { io, state, linger, .. } = self;
        let linger = linger.get_or_insert_with(|| {
            let now = Instant::now();
            let silence = Box::pin(sleep_until(now + SILENCE));
            let is_sending = state.unread.load(Relaxed);
            Box::new(Linger { until: now + LINGER, left: LINGER_BYTES, silence, is_sending })
        });
        loop {
            let mut discarded = [0; 8192];
            let mut buffer = ReadBuf::new(&mut discarded);
            match Pin::new(&mut *io).poll_read(cx, &mut buffer) {
                Poll::Pending if !linger.is_sending => return Poll::Ready(()),
                Poll::Pending => return linger.silence.as_mut().poll(cx),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => {}
            }
            let (read, now) = (buffer.filled().len(), Instant::now());
            linger.left = linger.left.saturating_sub(read);
            if read == 0 || linger.left == 0 || linger.until <= now {
                return Poll::Ready(());
            }
            linger.is_sending = true;
            linger.silence.as_mut().reset(linger.until.min(now + SILENCE));
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for ClientIo<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        if let Some(byte) = this.ahead.take() {
            buf.put_slice(&[byte]);
        } else {
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        }
        if buf.filled().len() == before {
            return this.poll_ended();
        }
        match this.protocol {
            Protocol::Http1 => this.state.set_unread(true),
            // The bytes may be a request, which becomes in flight only later.
            Protocol::Http2 => this.is_settled = false,
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientIo<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        let count = ready!(this.note_blocked(written))?;
        this.note_written(count);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        let count = ready!(this.note_blocked(written))?;
        this.note_written(count);
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// Flushes, and checks the client's input. hyper flushes after every event of the connection.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        ready!(this.note_blocked(flushed))?;
        this.unsent = 0;
        this.state.blocked.store(0, Relaxed);
        match this.protocol {
            Protocol::Http1 => this.look_ahead(cx)?,
            Protocol::Http2 => this.settle(cx),
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
        }
        this.poll_linger(cx).map(Ok)
    }
}

/// Reads and discards the rest of a request that was answered early, so that the client can read the response. Bounded
/// in time and bytes; the remainder is discarded when the connection ends.
pub async fn discard(mut body: Incoming, client: Arc<ClientState>) {
    client.set_unread(true);
    let (until, mut left) = (Instant::now() + LINGER, LINGER_BYTES);
    while let Ok(Ok(next)) = timeout_at(until, timeout(SILENCE, body.frame())).await {
        let Some(frame) = next else { return client.set_unread(false) };
        let read = frame.ok().map(|frame| frame.data_ref().map_or(0, Buf::remaining));
        match read.and_then(|read| left.checked_sub(read)) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests;
