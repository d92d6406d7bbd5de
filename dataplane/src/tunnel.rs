//! Bytes both ways between two streams: half-close kept, no buffer while idle, reads into one that all tunnels share.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// The largest read; measured best on loopback, and it costs its memory once per worker.
const MAX_READ: usize = 1024 * 1024;
/// The first read of a stream, and the least one.
const MIN_READ: usize = 16 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_READ].into());
}

/// The way in which a tunnel ended.
#[derive(Debug)]
pub(crate) enum TunnelEnd {
    /// Both sides have sent their end.
    Closed,
    /// No byte either way for the limit.
    Idle,
    /// One side failed.
    Failed(#[expect(dead_code, reason = "the log shows it, by Debug")] io::Error),
}

/// An observer of the bytes of one direction, once they are written.
pub(crate) type WriteObserver<'a> = &'a dyn Fn(&[u8]);

/// The counters of a tunnel.
pub(crate) struct TunnelObserver<'a> {
    /// The bytes from the client.
    pub inward: &'a Counter,
    /// The bytes to the client.
    pub outward: &'a Counter,
    /// The observer of what the client was sent.
    pub sent: Option<WriteObserver<'a>>,
}

/// Copies between a client and a backend until both are done, one fails, or nothing moves for `idle`.
pub(crate) async fn tunnel<C, B>(
    client: &mut C,
    backend: &mut B,
    idle: Duration,
    flow: TunnelObserver<'_>,
) -> TunnelEnd
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let moved = Cell::new(false);
    let mut inward = CopyDirection::new(flow.inward, &moved, None);
    let mut outward = CopyDirection::new(flow.outward, &moved, flow.sent);
    let mut both = poll_fn(|cx| {
        let there = inward.poll(cx, client, backend)?;
        let back = outward.poll(cx, backend, client)?;
        if there.is_ready() && back.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    });
    let watch = tokio::time::sleep_until(Instant::now() + idle);
    tokio::pin!(watch);
    loop {
        tokio::select! {
            ended = &mut both => return ended.map_or_else(TunnelEnd::Failed, |()| TunnelEnd::Closed),
            () = &mut watch => {
                if !moved.replace(false) {
                    return TunnelEnd::Idle;
                }
                watch.as_mut().reset(Instant::now() + idle);
            }
        }
    }
}

/// One direction.
struct CopyDirection<'a> {
    /// Read but not yet written.
    pending: Vec<u8>,
    written: usize,
    read_size: usize,
    state: CopyState,
    count: &'a Counter,
    moved: &'a Cell<bool>,
    sent: Option<WriteObserver<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CopyState {
    Copying,
    /// The source is done; the sink is to be told.
    Closing,
    Done,
}

impl<'a> CopyDirection<'a> {
    fn new(count: &'a Counter, moved: &'a Cell<bool>, sent: Option<WriteObserver<'a>>) -> Self {
        let state = CopyState::Copying;
        Self { pending: Vec::new(), written: 0, read_size: MIN_READ, state, count, moved, sent }
    }

    fn notify(&self, written: &[u8]) {
        self.moved.set(true);
        if let Some(sent) = self.sent {
            sent(written);
        }
    }

    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            ready!(self.write_pending(cx, to))?;
            match self.state {
                CopyState::Done => return Poll::Ready(Ok(())),
                CopyState::Closing => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.state = CopyState::Done;
                }
                CopyState::Copying => {
                    let copied = BUFFER.with_borrow_mut(|buffer| self.copy(cx, buffer, from, to));
                    if copied.is_pending() {
                        // What was written must not wait in a buffer of the sink for the next read.
                        let _ = Pin::new(&mut *to).poll_flush(cx)?;
                    }
                    ready!(copied)?;
                }
            }
        }
    }

    fn write_pending<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut W,
    ) -> Poll<io::Result<()>> {
        while self.written < self.pending.len() {
            let rest = self.pending.get(self.written..).unwrap_or_default();
            let n = ready!(Pin::new(&mut *to).poll_write(cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.notify(rest.get(..n).unwrap_or_default());
            self.written += n;
        }
        if self.written > 0 {
            (self.pending, self.written) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once and writes as much of it as the sink takes; the rest is kept.
    fn copy<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        from: &mut R,
        to: &mut W,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut space = ReadBuf::new(buffer.get_mut(..self.read_size).unwrap_or_default());
        ready!(Pin::new(from).poll_read(cx, &mut space))?;
        let mut data = space.filled();
        if data.is_empty() {
            self.state = CopyState::Closing;
            return Poll::Ready(Ok(()));
        }
        self.count.inc_by(data.len() as u64);
        self.moved.set(true);
        let full = data.len() == self.read_size;
        while !data.is_empty() {
            match Pin::new(&mut *to).poll_write(cx, data)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(n) => {
                    let (written, rest) = data.split_at_checked(n).unwrap_or((data, &[]));
                    self.notify(written);
                    data = rest;
                }
                Poll::Pending => break,
            }
        }
        // Large reads pay as long as the sink keeps up; what it does not take must be copied and kept.
        self.read_size = match (full, data.is_empty()) {
            (_, false) => (self.read_size / 2).max(MIN_READ),
            (true, true) => (self.read_size * 2).min(MAX_READ),
            (false, true) => self.read_size,
        };
        self.pending.extend_from_slice(data);
        Poll::Ready(Ok(()))
    }
}
