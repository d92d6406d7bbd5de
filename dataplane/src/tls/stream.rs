//! A client's TLS connection, which collects writes and sends them in few system calls.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::early_data::ClientSocket;

/// The minimum size of an HTTP/2 write that is taken for a DATA frame which others follow, in bytes.
const MIN_DATA_FRAME: usize = 8 * 1024;

/// A TLS connection that sends its records when it is flushed or its buffer is full.
#[derive(Debug)]
pub(crate) struct ClientTls {
    tls: TlsStream<ClientSocket>,
    is_h2: bool,
    /// Is true if the last write was a DATA frame.
    wrote_frame: bool,
}

impl ClientTls {
    /// Wraps a connection after its handshake.
    #[must_use]
    pub(super) fn new(tls: TlsStream<ClientSocket>) -> Self {
        let is_h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        Self { tls, is_h2, wrote_frame: false }
    }

    /// Returns whether HTTP/2 was negotiated (ALPN).
    #[must_use]
    pub(crate) fn is_h2(&self) -> bool {
        self.is_h2
    }

    /// Encrypts into the buffer, and sends only if it is full.
    fn encrypt(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        loop {
            let count = self.tls.get_mut().1.writer().write_vectored(bufs)?;
            if count > 0 {
                self.wrote_frame = count >= MIN_DATA_FRAME;
                return Poll::Ready(Ok(count));
            }
            ready!(self.send(cx))?;
        }
    }

    /// Sends all encrypted records.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (socket, session) = self.tls.get_mut();
        while session.wants_write() {
            match session.write_tls(&mut SocketWriter { socket, cx }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for ClientTls {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for ClientTls {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().encrypt(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().encrypt(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Sends all encrypted records. HTTP/2 flushes after each DATA frame, and once more when there are no more frames:
    /// the first flush after a frame is skipped, and the task is woken to flush again.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_h2 && std::mem::take(&mut this.wrote_frame) {
            cx.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        this.send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_shutdown(cx)
    }
}

/// An adapter by which the TLS library writes to the socket.
struct SocketWriter<'a, 'b> {
    socket: &'a mut ClientSocket,
    cx: &'a mut Context<'b>,
}

/// Converts the result of a poll to that of a non-blocking write.
fn non_blocking(polled: Poll<io::Result<usize>>) -> io::Result<usize> {
    match polled {
        Poll::Ready(sent) => sent,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl Write for SocketWriter<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        non_blocking(Pin::new(&mut *self.socket).poll_write(self.cx, buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        non_blocking(Pin::new(&mut *self.socket).poll_write_vectored(self.cx, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
