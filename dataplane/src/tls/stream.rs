//! A client's TLS connection: what is written to it is sent in few pieces.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::early_data::ClientSocket;

/// The size from which a write of HTTP/2 is a frame of DATA in a row of others, in bytes.
const MIN_DATA_FRAME: usize = 8 * 1024;

/// A TLS connection whose records are sent when it is flushed, or when it holds as much as it may.
#[derive(Debug)]
pub(crate) struct ClientTls {
    tls: TlsStream<ClientSocket>,
    is_h2: bool,
    /// A frame was written last.
    wrote_frame: bool,
}

impl ClientTls {
    /// Takes over a connection whose handshake is done.
    #[must_use]
    pub(super) fn new(tls: TlsStream<ClientSocket>) -> Self {
        let is_h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        Self { tls, is_h2, wrote_frame: false }
    }

    /// Returns whether HTTP/2 was agreed on.
    #[must_use]
    pub(crate) fn is_h2(&self) -> bool {
        self.is_h2
    }

    /// Encrypts; nothing is sent as long as there is room.
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

    /// Sends all that is encrypted.
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

    /// Sends what is encrypted. HTTP/2 flushes after each frame of DATA, and once more when there are no more of them:
    /// only then is it done, or else when the task is polled again.
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

/// The socket as the TLS library writes to it.
struct SocketWriter<'a, 'b> {
    socket: &'a mut ClientSocket,
    cx: &'a mut Context<'b>,
}

fn sent(polled: Poll<io::Result<usize>>) -> io::Result<usize> {
    match polled {
        Poll::Ready(sent) => sent,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl Write for SocketWriter<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        sent(Pin::new(&mut *self.socket).poll_write(self.cx, buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        sent(Pin::new(&mut *self.socket).poll_write_vectored(self.cx, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
