//! A tunnel: copies bytes in both directions between two streams and preserves half-closes.
//!
//! An idle tunnel has no buffer: reads go into one that all tunnels of a thread share.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// The maximum size of a read, in bytes: the fastest one measured on loopback. The buffer exists once per worker.
const MAX_READ: usize = 1024 * 1024;
/// The initial and minimum size of a read, in bytes.
const MIN_READ: usize = 16 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_READ].into());
}

/// The way in which a tunnel ended.
#[derive(Debug)]
pub(crate) enum TunnelEnd {
    /// Both sides closed.
    Closed,
    /// The time limit elapsed without a transfer in either direction.
    Idle,
    /// Reading from or writing to one side failed.
    Failed(#[expect(dead_code, reason = "the log shows it, by Debug")] io::Error),
}

/// A function that is called with the bytes of one direction after they were written.
pub(crate) type WriteObserver<'a> = &'a dyn Fn(&[u8]);

/// A function that is called with the number of bytes read in one direction.
pub(crate) type ReadObserver<'a> = &'a dyn Fn(u64);

/// The observers of a tunnel.
pub(crate) struct TunnelObserver<'a> {
    /// The observer of the bytes from the client.
    pub inward: ReadObserver<'a>,
    /// The observer of the bytes to the client.
    pub outward: ReadObserver<'a>,
    /// The observer of the bytes written to the client.
    pub on_sent: Option<WriteObserver<'a>>,
}

/// Copies between a client and a backend until both have closed, one fails, or nothing was transferred for `idle`.
///
/// Transfers are checked for once per `idle`, so that an idle tunnel ends after one to two times that duration.
pub(crate) async fn tunnel<C, B>(
    client: &mut C,
    backend: &mut B,
    idle: Duration,
    observer: TunnelObserver<'_>,
) -> TunnelEnd
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let moved = Cell::new(false);
    let mut inward = CopyDirection::new(observer.inward, &moved, None);
    let mut outward = CopyDirection::new(observer.outward, &moved, observer.on_sent);
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

/// One direction of a tunnel.
struct CopyDirection<'a> {
    /// Bytes that were read and did not fit into the sink; the first `written` of them have been written since.
    pending: Vec<u8>,
    written: usize,
    read_size: usize,
    state: CopyState,
    on_read: ReadObserver<'a>,
    moved: &'a Cell<bool>,
    on_sent: Option<WriteObserver<'a>>,
}

/// The state of one direction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CopyState {
    Copying,
    /// The source has ended; the sink is being shut down.
    Closing,
    Done,
}

impl<'a> CopyDirection<'a> {
    fn new(on_read: ReadObserver<'a>, moved: &'a Cell<bool>, on_sent: Option<WriteObserver<'a>>) -> Self {
        let state = CopyState::Copying;
        Self { pending: Vec::new(), written: 0, read_size: MIN_READ, state, on_read, moved, on_sent }
    }

    fn notify(&self, written: &[u8]) {
        self.moved.set(true);
        if let Some(on_sent) = self.on_sent {
            on_sent(written);
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
                        // Written bytes must not wait in a buffer of the sink until the next read.
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

    /// Reads once and writes as much as the sink accepts; the rest is kept in `pending`.
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
        (self.on_read)(data.len() as u64);
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
        // Large reads are fast while the sink keeps up; bytes that it does not accept have to be copied.
        self.read_size = match (full, data.is_empty()) {
            (_, false) => (self.read_size / 2).max(MIN_READ),
            (true, true) => (self.read_size * 2).min(MAX_READ),
            (false, true) => self.read_size,
        };
        self.pending.extend_from_slice(data);
        Poll::Ready(Ok(()))
    }
}
