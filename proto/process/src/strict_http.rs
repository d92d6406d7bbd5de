//! A stream of HTTP/1 requests that rejects ambiguous heads, to prevent request smuggling.
//!
//! hyper accepts a bare LF as the end of a line, and drops a Content-Length beside a Transfer-Encoding. Recipients may
//! do so (RFC 9112 §2.2, §6.3), but then two of them can disagree on the end of a request. This stream replaces the LF
//! at the end of such a line or head by a NUL, which is allowed nowhere in a head, so that hyper's parser rejects it:
//! the response is 400, in the order of the pipelined requests, and the connection ends. Content passes unchanged.

mod line;
mod responses;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::line::{CompleteLine, Line};
pub use self::responses::{HeadError, HeadFault, ResponseHeads, StrictResponses};
use crate::client_io::ClientState;

/// A stream from which a server reads HTTP/1 requests.
#[derive(Debug)]
pub struct StrictHttp<I> {
    io: I,
    client: Arc<ClientState>,
    scanner: Scanner,
    /// The bytes after a request for an upgrade. Only its response determines their protocol.
    ahead: Vec<u8>,
}

impl<I> StrictHttp<I> {
    /// Makes a stream that begins with the head of a request. The server must read nothing while a request is in
    /// flight.
    #[must_use]
    pub fn new(io: I, client: Arc<ClientState>) -> Self {
        Self { io, client, scanner: Scanner::default(), ahead: Vec::new() }
    }
}

/// The position of the next byte within a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum RequestPosition {
    /// Before a request, or in the empty lines that may precede it.
    #[default]
    Begin,
    /// In the fields of a head.
    Fields,
    /// In content of a known length, with the number of bytes left.
    Content(u64),
    /// In the line that precedes a chunk.
    ChunkSize,
    /// In a chunk and its line end, with the number of bytes left.
    Chunk(u64),
    /// In the trailer section.
    Trailers,
    /// After a rejected head or chunk, after which the connection ends.
    Beyond,
}

/// A scanner that follows the requests of a connection far enough to find their heads.
#[derive(Debug, Default)]
struct Scanner {
    place: RequestPosition,
    framing: Framing,
    line: Line,
    /// True if the last line ended a head that requests an upgrade and has no content.
    is_upgrade: bool,
}

/// The fields of a head that determine the framing of its content.
#[derive(Debug, Clone, Copy, Default)]
struct Framing {
    length: Option<u64>,
    is_coded: bool,
    /// True for another coding than `chunked`, which hyper or the service rejects.
    has_other_coding: bool,
    has_upgrade: bool,
    is_invalid: bool,
}

impl Scanner {
    /// Scans bytes that were read, and invalidates the first ambiguous head. Returns the number of bytes after a
    /// request for an upgrade, which are not scanned yet.
    fn scan(&mut self, mut bytes: &mut [u8]) -> usize {
        while !bytes.is_empty() {
            match self.place {
                RequestPosition::Beyond => return 0,
                RequestPosition::Content(left) | RequestPosition::Chunk(left) => {
                    let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    self.skip(left - skipped as u64);
                    bytes = bytes.split_at_mut(skipped).1;
                }
                RequestPosition::Begin
                | RequestPosition::Fields
                | RequestPosition::ChunkSize
                | RequestPosition::Trailers => {
                    let Some(end) = memchr(b'\n', bytes) else {
                        self.line.keep(bytes);
                        return 0;
                    };
                    let (line, rest) = bytes.split_at_mut(end);
                    let Some((lf, rest)) = rest.split_first_mut() else { return 0 };
                    if !self.take(line) {
                        *lf = 0;
                        self.place = RequestPosition::Beyond;
                    }
                    bytes = rest;
                    if std::mem::take(&mut self.is_upgrade) {
                        return bytes.len();
                    }
                }
            }
        }
        0
    }

    fn skip(&mut self, left: u64) {
        self.place = match (self.place, left) {
            (RequestPosition::Chunk(_), 0) => RequestPosition::ChunkSize,
            (RequestPosition::Chunk(_), left) => RequestPosition::Chunk(left),
            (_, 0) => RequestPosition::Begin,
            (_, left) => RequestPosition::Content(left),
        };
    }

    /// Processes the rest of a line. Returns false if the head is ambiguous.
    fn take(&mut self, rest: &[u8]) -> bool {
        let Self { place, framing, line, is_upgrade } = self;
        let whole = line.end(rest);
        if !whole.has_cr {
            return false;
        }
        let is_empty = whole.text.is_empty();
        let mut is_clear = true;
        *place = match *place {
            RequestPosition::Begin if is_empty => RequestPosition::Begin,
            RequestPosition::Begin => RequestPosition::Fields,
            RequestPosition::Fields if is_empty => {
                let found = std::mem::take(framing);
                is_clear = !found.is_ambiguous();
                *is_upgrade = found.has_upgrade && found.content() == RequestPosition::Begin;
                found.content()
            }
            RequestPosition::Fields => {
                framing.field(&whole);
                RequestPosition::Fields
            }
            RequestPosition::ChunkSize => chunk(&whole),
            RequestPosition::Trailers if is_empty => RequestPosition::Begin,
            other => other,
        };
        line.clear();
        is_clear
    }
}

impl Framing {
    fn field(&mut self, line: &CompleteLine<'_>) {
        match line.text.first().map(u8::to_ascii_lowercase) {
            Some(b'c') => {
                let Some(value) = line.value_of(b"content-length:") else { return };
                let length = number(value, 10).filter(|_| !line.is_cut);
                self.is_invalid |=
                    length.is_none() || self.length.is_some_and(|before| Some(before) != length);
                self.length = length.or(Some(0));
            }
            Some(b't') => {
                let Some(value) = line.value_of(b"transfer-encoding:") else { return };
                let is_chunked = value.eq_ignore_ascii_case(b"chunked") && !self.is_coded;
                self.is_invalid |= line.is_cut;
                self.has_other_coding |= !is_chunked;
                self.is_coded = true;
            }
            Some(b'u') => {
                self.has_upgrade |= line.value_of(b"upgrade:").is_some();
            }
            _ => {}
        }
    }

    fn is_ambiguous(&self) -> bool {
        self.is_invalid || (self.is_coded && self.length.is_some())
    }

    /// Returns the position after the head.
    fn content(&self) -> RequestPosition {
        if self.has_other_coding {
            return RequestPosition::Beyond;
        }
        match self.length {
            _ if self.is_coded => RequestPosition::ChunkSize,
            None | Some(0) => RequestPosition::Begin,
            Some(length) => RequestPosition::Content(length),
        }
    }
}

/// Returns the position after the line that precedes a chunk (RFC 9112 §7.1).
fn chunk(line: &CompleteLine<'_>) -> RequestPosition {
    let end = line.text.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.text.len());
    let size = line.text.get(..end).and_then(|digits| number(digits, 16));
    match size {
        // The rest of the number was not kept.
        _ if line.is_cut && end == line.text.len() => RequestPosition::Beyond,
        Some(0) => RequestPosition::Trailers,
        Some(size) => size.checked_add(2).map_or(RequestPosition::Beyond, RequestPosition::Chunk),
        // hyper rejects such a chunk.
        None => RequestPosition::Beyond,
    }
}

/// Parses a number; `None` if there are no digits, invalid ones, or too many.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let mut number: Option<u64> = None;
    for &digit in digits {
        let value = char::from(digit).to_digit(radix)?;
        let shifted = number.unwrap_or(0).checked_mul(radix.into())?;
        number = Some(shifted.checked_add(value.into())?);
    }
    number
}

impl<I: AsyncRead + Unpin> AsyncRead for StrictHttp<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { io, client, scanner, ahead } = self.get_mut();
        let before = buf.filled().len();
        if ahead.is_empty() {
            ready!(Pin::new(io).poll_read(cx, buf))?;
        } else {
            let count = ahead.len().min(buf.remaining());
            buf.put_slice(ahead.get(..count).unwrap_or_default());
            ahead.drain(..count);
        }
        if !client.is_upgraded() {
            let unseen = scanner.scan(buf.filled_mut().split_at_mut(before).1);
            let seen = buf.filled().len() - unseen;
            ahead.splice(..0, buf.filled().iter().skip(seen).copied());
            buf.set_filled(seen);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for StrictHttp<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;
