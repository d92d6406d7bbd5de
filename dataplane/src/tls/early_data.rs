//! Early data, which the TLS library skips because it cannot decrypt it (RFC 8446 §4.2.10).
//!
//! rustls 0.23.46 keeps skipped records in its buffer of 18 KiB until it reads a record that it does not skip
//! (`ConnectionCore::process_more_input`, whose `continue` discards nothing), and fails when the buffer is full
//! (`DeframerVecBuffer::prepare_read`). So before the buffer is full, this module inserts a record that rustls accepts
//! and ignores: the warning alert `user_canceled`, which a client may send unencrypted at this point.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::socket::Socket;

/// The size of the TLS library's buffer, in bytes: that of the largest record (RFC 5246 §6.2.3).
const DEFRAMER_BYTES: usize = 5 + 16 * 1024 + 2048;
/// A record with the warning alert `user_canceled` (RFC 8446 §6.1).
const USER_CANCELED: [u8; 7] = [21, 3, 3, 0, 2, 1, 90];
/// The number of warning alerts that the TLS library accepts.
const WARNINGS: u8 = 4;
/// The type of encrypted records, those with early data among them.
const APPLICATION_DATA: u8 = 23;
/// The size of a read, in bytes.
const READ_SIZE: usize = 4096;

/// The maximum size of skipped early data, record headers included, in bytes: a full buffer before each warning and
/// after the last one.
pub(super) const MAX_SKIPPED: usize = DEFRAMER_BYTES * (WARNINGS as usize + 1);

/// The socket of a client's connection whose TLS is terminated.
#[derive(Debug)]
pub(crate) struct ClientSocket {
    socket: Socket,
    pending: Option<Box<PendingInput>>,
}

/// Input that was read and not yet given to the TLS library.
#[derive(Debug)]
struct PendingInput {
    unread: Vec<u8>,
    filter: Option<EarlyDataFilter>,
}

/// A filter of a client's records during the handshake. It holds input back before the library's buffer is full.
#[derive(Debug)]
struct EarlyDataFilter {
    /// The number of bytes of the current record that were not given to the library yet.
    left: usize,
    /// The number of bytes in the library's buffer, if it skipped all encrypted records.
    buffered: usize,
    warnings: u8,
    is_full: bool,
    has_yielded: bool,
}

impl ClientSocket {
    /// Creates a socket that yields `unread` first, which begins with a record. With `early_data`, records are
    /// filtered.
    #[must_use]
    pub(super) fn new(socket: Socket, unread: &[u8], early_data: bool) -> Self {
        let pending = PendingInput { unread: unread.to_vec(), filter: early_data.then(EarlyDataFilter::new) };
        let is_needed = early_data || !unread.is_empty();
        Self { socket, pending: is_needed.then(|| Box::new(pending)) }
    }

    /// Ends the filtering after the handshake.
    pub(super) fn handshake_done(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.filter = None;
        }
    }
}

impl EarlyDataFilter {
    fn new() -> Self {
        Self { left: 0, buffered: 0, warnings: WARNINGS, is_full: false, has_yielded: false }
    }

    /// Returns the number of bytes at the start of `unread` that the library may get now, and counts them as given.
    fn admit(&mut self, unread: &[u8], room: usize) -> usize {
        let (mut at, end) = (0, unread.len().min(room));
        self.is_full = false;
        loop {
            let step = self.left.min(end - at);
            (at, self.left) = (at + step, self.left - step);
            let header = unread.get(at..).and_then(<[u8]>::first_chunk);
            let Some(&[kind, _, _, high, low]) = header.filter(|_| self.left == 0 && at < end) else {
                return at;
            };
            let length = 5 + usize::from(u16::from_be_bytes([high, low]));
            self.is_full = self.buffered > 0
                && self.warnings > 0
                && self.buffered + length + USER_CANCELED.len() > DEFRAMER_BYTES;
            if self.is_full {
                return at;
            }
            self.buffered = if kind == APPLICATION_DATA { self.buffered + length } else { 0 };
            self.left = length;
        }
    }

    /// Returns a record that makes the TLS library empty its buffer. It yields once before: if the last record has
    /// ended the handshake, the reader sees that first, and the warning is not sent.
    fn poll_warning(&mut self, cx: &mut Context<'_>) -> Poll<&'static [u8]> {
        self.has_yielded = !self.has_yielded;
        if self.has_yielded {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.warnings -= 1;
        self.buffered = 0;
        Poll::Ready(&USER_CANCELED)
    }
}

impl PendingInput {
    fn poll_read(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let room = buf.remaining();
            let count = match &mut self.filter {
                Some(filter) => filter.admit(&self.unread, room),
                None => self.unread.len().min(room),
            };
            if count > 0 {
                buf.put_slice(self.unread.get(..count).unwrap_or_default());
                self.unread.drain(..count);
                return Poll::Ready(Ok(()));
            }
            if let Some(filter) = self.filter.as_mut().filter(|filter| filter.is_full) {
                let warning = ready!(filter.poll_warning(cx));
                if warning.len() > room {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                buf.put_slice(warning);
                return Poll::Ready(Ok(()));
            }
            if room == 0 {
                return Poll::Ready(Ok(()));
            }
            let mut bytes = [0; READ_SIZE];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut *socket).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.unread.extend_from_slice(read.filled());
        }
    }

    fn is_done(&self) -> bool {
        self.filter.is_none() && self.unread.is_empty()
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { socket, pending } = self.get_mut();
        if pending.as_ref().is_some_and(|pending| pending.is_done()) {
            *pending = None;
        }
        match pending {
            None => Pin::new(socket).poll_read(cx, buf),
            Some(pending) => pending.poll_read(socket, cx, buf),
        }
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(cx, bufs)
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
    use std::task::Waker;

    use super::*;

    fn record(kind: u8, length: usize) -> Vec<u8> {
        let mut record = vec![kind, 3, 3, (length >> 8) as u8, length as u8];
        record.resize(5 + length, kind);
        record
    }

    /// Filters `stream` in reads of `size` bytes; returns the bytes given before, between and after the warnings.
    fn filtered(stream: &[u8], size: usize) -> Vec<Vec<u8>> {
        let mut filter = EarlyDataFilter::new();
        let (mut unread, mut out) = (Vec::new(), vec![Vec::new()]);
        let cx = &mut Context::from_waker(Waker::noop());
        for piece in stream.chunks(size) {
            unread.extend_from_slice(piece);
            loop {
                let count = filter.admit(&unread, READ_SIZE);
                if count > 0 {
                    out.last_mut().unwrap().extend(unread.drain(..count));
                } else if filter.is_full {
                    assert!(filter.poll_warning(cx).is_pending(), "it yields first");
                    assert!(filter.poll_warning(cx).is_ready());
                    out.push(Vec::new());
                } else {
                    break;
                }
            }
        }
        assert!(unread.is_empty(), "{} bytes are held back", unread.len());
        out
    }

    #[test]
    fn records_stay_whole_and_never_exceed_the_buffer() {
        for length in [1, 17, 100, 1000, 8000, 16_401, 18_432] {
            let stream: Vec<u8> =
                (0..(64 * 1024 / length).max(4)).flat_map(|_| record(APPLICATION_DATA, length)).collect();
            for size in [1, 4, 700, READ_SIZE] {
                let out = filtered(&stream, size);
                assert_eq!(out.concat(), stream);
                let (last, before) = out.split_last().unwrap();
                assert!(
                    before.len() <= usize::from(WARNINGS)
                        && (before.len() == usize::from(WARNINGS) || last.len() <= DEFRAMER_BYTES)
                );
                for buffered in before {
                    assert!(
                        buffered.len() <= DEFRAMER_BYTES && buffered.len() % (5 + length) == 0,
                        "{} bytes",
                        buffered.len()
                    );
                    assert!(
                        buffered.len() + 5 + length + USER_CANCELED.len() > DEFRAMER_BYTES,
                        "no warning is wasted"
                    );
                }
            }
        }
    }

    #[test]
    fn a_record_that_is_not_skipped_empties_the_buffer() {
        let mut stream = Vec::new();
        for _ in 0..20 {
            stream.extend(record(APPLICATION_DATA, 10_000));
            stream.extend(record(20, 1));
        }
        assert_eq!(filtered(&stream, READ_SIZE), [stream]);
    }
}
