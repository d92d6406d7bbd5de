//! Trailers over HTTP/1.1.
//!
//! hyper only sends trailers that the head announced, but not all senders announce them. So a body puts its trailers
//! into a slot of the connection, and the connection's output writes them into the last chunk.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use arc_swap::ArcSwapOption;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The end of chunked content without trailers (RFC 9112 §7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The state without trailers to send.
const NONE: u8 = 0;
/// The state in which trailers wait until the content before them is written.
const WAITING: u8 = 1;
/// The state in which the last chunk, with the trailers, is written next.
const DUE: u8 = 2;

/// The slot for the trailers of the message that a connection sends. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrailerSlot(Arc<Slot>);

/// The state that body and output share. Both are on one thread, but hyper requires `Send` of upgradeable connections.
#[derive(Debug, Default)]
struct Slot {
    state: AtomicU8,
    /// The last chunk with the trailers, encoded.
    end: ArcSwapOption<Vec<u8>>,
}

/// A stream that writes the trailers of the slot into the last chunk of a message.
#[derive(Debug)]
pub(crate) struct TrailerIo<I> {
    io: I,
    slot: TrailerSlot,
    /// The last chunk that is being written, and the number of its bytes that are written.
    end: Option<(Arc<Vec<u8>>, usize)>,
}

impl TrailerSlot {
    /// Puts the trailers of a chunked message into the slot. The message must not end before [`Self::poll_due`]
    /// resolves.
    pub(crate) fn put(&self, trailers: &HeaderMap) {
        let mut end = b"0\r\n".to_vec();
        for (name, value) in trailers {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                end.extend_from_slice(part);
            }
        }
        end.extend_from_slice(b"\r\n");
        self.0.end.store(Some(Arc::new(end)));
        self.0.state.store(WAITING, Relaxed);
    }

    /// Resolves when the content before the trailers is written; then the message must end at once. No waker is
    /// registered: the flush of the connection wakes its task.
    pub(crate) fn poll_due(&self) -> Poll<()> {
        if self.0.state.load(Relaxed) == WAITING { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl<I> TrailerIo<I> {
    /// Wraps a stream whose trailers come from `slot`.
    #[must_use]
    pub(crate) fn new(io: I, slot: TrailerSlot) -> Self {
        Self { io, slot, end: None }
    }

    /// Takes the trailers from the slot if they are due and `next` begins with a last chunk. If it does not, the
    /// message with the trailers was cut, and they are dropped.
    fn take_end(&mut self, next: &[u8]) {
        let Slot { state, end } = &*self.slot.0;
        if state.load(Relaxed) == DUE {
            state.store(NONE, Relaxed);
            self.end = end.swap(None).filter(|_| next.starts_with(LAST_CHUNK)).map(|end| (end, 0));
        }
    }
}

impl<I: AsyncWrite + Unpin> TrailerIo<I> {
    /// Writes the last chunk with trailers in place of the one at the start of `next`; `None` if there are no trailers
    /// for it.
    fn poll_end(&mut self, cx: &mut Context<'_>, next: &[u8]) -> Poll<Option<io::Result<usize>>> {
        self.take_end(next);
        let Some((end, written)) = &mut self.end else { return Poll::Ready(None) };
        while let Some(left) = end.get(*written..).filter(|left| !left.is_empty()) {
            match ready!(Pin::new(&mut self.io).poll_write(cx, left)) {
                Ok(0) => return Poll::Ready(Some(Err(io::ErrorKind::WriteZero.into()))),
                Ok(count) => *written += count,
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        self.end = None;
        Poll::Ready(Some(Ok(LAST_CHUNK.len())))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for TrailerIo<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for TrailerIo<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match ready!(this.poll_end(cx, buf)) {
            Some(written) => Poll::Ready(written),
            None => Pin::new(&mut this.io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let next = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
        match ready!(this.poll_end(cx, next)) {
            Some(written) => Poll::Ready(written),
            None => Pin::new(&mut this.io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// Flushes. hyper flushes once everything available was written, so waiting trailers are due after that.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        let state = &this.slot.0.state;
        if state.load(Relaxed) == WAITING {
            state.store(DUE, Relaxed);
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    fn trailers() -> HeaderMap {
        let mut trailers = HeaderMap::new();
        trailers.append("x-sum", HeaderValue::from_static("1"));
        trailers.append("x-sum", HeaderValue::from_static("2"));
        trailers
    }

    /// Writes `before`, trailers, and `after` through a pipe of `size` bytes, and returns what comes out.
    async fn sent(before: &[u8], after: &[u8], size: usize) -> Vec<u8> {
        let slot = TrailerSlot::default();
        let (output, mut input) = duplex(size);
        let mut output = TrailerIo::new(output, slot.clone());
        let sending = async {
            output.write_all(before).await.unwrap();
            slot.put(&trailers());
            assert!(slot.poll_due().is_pending());
            output.flush().await.unwrap();
            assert!(slot.poll_due().is_ready());
            output.write_all(after).await.unwrap();
            output.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        let (_, read) = tokio::join!(sending, input.read_to_end(&mut got));
        read.unwrap();
        got
    }

    #[tokio::test]
    async fn only_the_last_chunk_gets_the_trailers() {
        for size in [1, 2, 7, 1024] {
            let got = sent(b"5\r\n0\r\n\r\n\r\n", b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n0\r\n\r\n", size).await;
            let expected =
                b"5\r\n0\r\n\r\n\r\n0\r\nx-sum: 1\r\nx-sum: 2\r\n\r\nHTTP/1.1 200 OK\r\n\r\n0\r\n\r\n";
            assert_eq!(got, expected, "{size} bytes at a time");
            // The message was cut, and the output belongs to the next one.
            let got = sent(b"", b"HTTP/1.1 200 OK\r\n\r\n0\r\n\r\n", size).await;
            assert_eq!(got, b"HTTP/1.1 200 OK\r\n\r\n0\r\n\r\n", "{size} bytes at a time");
        }
    }
}
