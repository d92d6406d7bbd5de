//! A stream of HTTP/1 requests whose heads can be read in one way only.
//!
//! hyper takes a bare LF for the end of a line, and drops a Content-Length beside a Transfer-Encoding before anyone sees
//! it. A recipient may do so (RFC 9112 §2.2, §6.3), but where it does, two of them can disagree on where a request ends.
//! Such a head is made one that the parser refuses: its LF becomes a NUL, which is allowed nowhere in a head. So the answer
//! is 400, in its turn among the answers, and the connection ends. Content passes as it is, and is not looked at.

mod line;
mod responses;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::line::{Line, Whole};
pub use self::responses::{HeadError, HeadFault, ResponseHeads, StrictResponses};
use crate::client_io::ClientState;

/// A stream that a server reads HTTP/1 requests from.
#[derive(Debug)]
pub struct StrictHttp<I> {
    io: I,
    client: Arc<ClientState>,
    scanner: Scanner,
    /// The bytes behind a head that asks for another protocol: only its answer says what they are.
    ahead: Vec<u8>,
}

impl<I> StrictHttp<I> {
    /// Begins with the head of a request. Whoever serves `client` reads nothing while a request is under way.
    #[must_use]
    pub fn new(io: I, client: Arc<ClientState>) -> Self {
        Self { io, client, scanner: Scanner::default(), ahead: Vec::new() }
    }
}

/// The place of the next byte.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// Before a request, or in the empty lines that may stand there.
    #[default]
    Begin,
    /// In the fields of a head.
    Fields,
    /// In content of a known length, of which this much is left.
    Content(u64),
    /// In the line before a chunk.
    ChunkSize,
    /// In a chunk and the end of its line, of which this much is left.
    Chunk(u64),
    /// In the trailer section.
    Trailers,
    /// Behind a head or a chunk that is refused: the connection ends.
    Beyond,
}

/// Follows the requests of a connection, just as far as it takes to find their heads.
#[derive(Debug, Default)]
struct Scanner {
    place: Place,
    framing: Framing,
    line: Line,
    /// The last line ended a head that asks for another protocol and has no content.
    is_upgrade: bool,
}

/// The fields of a head that matter.
#[derive(Debug, Clone, Copy, Default)]
struct Framing {
    length: Option<u64>,
    is_coded: bool,
    /// A coding that hyper, or the service, refuses with a reason.
    has_other_coding: bool,
    has_upgrade: bool,
    is_invalid: bool,
}

impl Scanner {
    /// Follows bytes that were read, and spoils the head that is in doubt. Returns the number of bytes behind a head that
    /// asks for another protocol, and that are not looked at yet.
    fn scan(&mut self, mut bytes: &mut [u8]) -> usize {
        while !bytes.is_empty() {
            match self.place {
                Place::Beyond => return 0,
                Place::Content(left) | Place::Chunk(left) => {
                    let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    self.skip(left - skipped as u64);
                    bytes = bytes.split_at_mut(skipped).1;
                }
                Place::Begin | Place::Fields | Place::ChunkSize | Place::Trailers => {
                    let Some(end) = memchr(b'\n', bytes) else {
                        self.line.keep(bytes);
                        return 0;
                    };
                    let (line, rest) = bytes.split_at_mut(end);
                    let Some((lf, rest)) = rest.split_first_mut() else { return 0 };
                    if !self.take(line) {
                        *lf = 0;
                        self.place = Place::Beyond;
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
            (Place::Chunk(_), 0) => Place::ChunkSize,
            (Place::Chunk(_), left) => Place::Chunk(left),
            (_, 0) => Place::Begin,
            (_, left) => Place::Content(left),
        };
    }

    /// Takes the rest of a line; returns whether it can be read in one way only.
    fn take(&mut self, rest: &[u8]) -> bool {
        let Self { place, framing, line, is_upgrade } = self;
        let whole = line.end(rest);
        if !whole.has_cr {
            return false;
        }
        let is_empty = whole.text.is_empty();
        let mut is_clear = true;
        *place = match *place {
            Place::Begin if is_empty => Place::Begin,
            Place::Begin => Place::Fields,
            Place::Fields if is_empty => {
                let found = std::mem::take(framing);
                is_clear = !found.is_in_doubt();
                *is_upgrade = found.has_upgrade && found.content() == Place::Begin;
                found.content()
            }
            Place::Fields => {
                framing.field(&whole);
                Place::Fields
            }
            Place::ChunkSize => chunk(&whole),
            Place::Trailers if is_empty => Place::Begin,
            other => other,
        };
        line.clear();
        is_clear
    }
}

impl Framing {
    fn field(&mut self, line: &Whole<'_>) {
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

    fn is_in_doubt(&self) -> bool {
        self.is_invalid || (self.is_coded && self.length.is_some())
    }

    /// Returns the place behind the head.
    fn content(&self) -> Place {
        if self.has_other_coding {
            return Place::Beyond;
        }
        match self.length {
            _ if self.is_coded => Place::ChunkSize,
            None | Some(0) => Place::Begin,
            Some(length) => Place::Content(length),
        }
    }
}

/// Returns the place behind the line before a chunk (RFC 9112 §7.1).
fn chunk(line: &Whole<'_>) -> Place {
    let end = line.text.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.text.len());
    let size = line.text.get(..end).and_then(|digits| number(digits, 16));
    match size {
        // The rest of the number is not there.
        _ if line.is_cut && end == line.text.len() => Place::Beyond,
        Some(0) => Place::Trailers,
        Some(size) => size.checked_add(2).map_or(Place::Beyond, Place::Chunk),
        // hyper refuses it.
        None => Place::Beyond,
    }
}

/// Returns the number that these digits are; `None` if there are none, others, or too many.
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
