//! A stream of HTTP/1 requests whose heads can be read in one way only.
//!
//! hyper takes a bare LF for the end of a line, and drops a Content-Length beside a Transfer-Encoding before anyone sees
//! it. A recipient may do so (RFC 9112 §2.2, §6.3), but where it does, two of them can disagree on where a request ends.
//! Such a head is made one that the parser refuses: its LF becomes a NUL, which is allowed nowhere in a head. So the answer
//! is 400, in its turn among the answers, and the connection ends. Content passes as it is, and is not looked at.
//!
//! Nor is anything behind a request with an Upgrade field: it may be another protocol's. The service ends the connection with
//! its answer to such a request, unless that is a 101; and with one to a coding that it refuses.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The bytes that are kept of a line that comes in several reads.
const LINE: usize = 128;

/// A stream that a server reads HTTP/1 requests from.
#[derive(Debug)]
pub struct StrictHttp<I> {
    io: I,
    scanner: Scanner,
}

impl<I> StrictHttp<I> {
    /// Begins with the head of a request.
    #[must_use]
    pub fn new(io: I) -> Self {
        Self { io, scanner: Scanner::default() }
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
    /// Behind all that is HTTP/1, or that hyper goes on with.
    Beyond,
}

/// Follows the requests of a connection, just as far as it takes to find their heads.
#[derive(Debug, Default)]
struct Scanner {
    place: Place,
    framing: Framing,
    line: Line,
}

/// The fields of a head that matter.
#[derive(Debug, Clone, Copy, Default)]
struct Framing {
    length: Option<u64>,
    is_coded: bool,
    /// A coding that hyper, or the service, refuses with a reason.
    has_other_coding: bool,
    is_websocket: bool,
    is_invalid: bool,
}

/// The beginning of a line that came in earlier reads.
#[derive(Debug, Default)]
struct Line {
    kept: Vec<u8>,
    last: Option<u8>,
    is_cut: bool,
}

/// A line without its LF.
struct Whole<'a> {
    text: &'a [u8],
    is_cut: bool,
}

impl Scanner {
    /// Follows bytes that were read, and spoils the head that is in doubt.
    fn scan(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            match self.place {
                Place::Beyond => return,
                Place::Content(left) | Place::Chunk(left) => {
                    let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    self.skip(left - skipped as u64);
                    bytes = bytes.split_at_mut(skipped).1;
                }
                Place::Begin | Place::Fields | Place::ChunkSize | Place::Trailers => {
                    let Some(end) = memchr(b'\n', bytes) else { return self.line.keep(bytes) };
                    let (line, rest) = bytes.split_at_mut(end);
                    let Some((lf, rest)) = rest.split_first_mut() else { return };
                    if !self.take(line) {
                        *lf = 0;
                        self.place = Place::Beyond;
                    }
                    bytes = rest;
                }
            }
        }
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
        let Self { place, framing, line } = self;
        let last = rest.last().copied().or(line.last);
        if last != Some(b'\r') {
            return false;
        }
        let is_whole = line.last.is_none();
        if !is_whole {
            line.keep(rest);
        }
        let whole = Whole { text: if is_whole { rest } else { &line.kept }, is_cut: line.is_cut };
        let is_empty = whole.text == b"\r";
        let mut is_clear = true;
        *place = match *place {
            Place::Begin if is_empty => Place::Begin,
            Place::Begin => Place::Fields,
            Place::Fields if is_empty => {
                let found = std::mem::take(framing);
                is_clear = !found.is_in_doubt();
                found.content()
            }
            Place::Fields => {
                framing.field(&whole);
                Place::Fields
            }
            Place::ChunkSize => whole.chunk(),
            Place::Trailers if is_empty => Place::Begin,
            other => other,
        };
        if !is_whole {
            line.clear();
        }
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
                let Some(value) = line.value_of(b"upgrade:") else { return };
                let mut parts = value.windows(b"websocket".len());
                self.is_websocket |= line.is_cut || parts.any(|part| part.eq_ignore_ascii_case(b"websocket"));
            }
            _ => {}
        }
    }

    fn is_in_doubt(&self) -> bool {
        self.is_invalid || (self.is_coded && self.length.is_some())
    }

    /// Returns the place behind the head.
    fn content(&self) -> Place {
        if self.is_websocket || self.has_other_coding {
            return Place::Beyond;
        }
        match self.length {
            _ if self.is_coded => Place::ChunkSize,
            None | Some(0) => Place::Begin,
            Some(length) => Place::Content(length),
        }
    }
}

impl Line {
    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE.saturating_sub(self.kept.len()).min(bytes.len());
        self.kept.extend(bytes.iter().take(room));
        self.is_cut |= bytes.len() > room;
        self.last = bytes.last().copied().or(self.last);
    }

    fn clear(&mut self) {
        self.kept.clear();
        (self.last, self.is_cut) = (None, false);
    }
}

impl<'a> Whole<'a> {
    /// Returns the value if this is a line of the field `name`, which ends in its colon.
    fn value_of(&self, name: &[u8]) -> Option<&'a [u8]> {
        let (begin, value) = self.text.split_at_checked(name.len())?;
        begin.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    }

    /// Returns the place behind the line before a chunk (RFC 9112 §7.1).
    fn chunk(&self) -> Place {
        let end = self.text.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(self.text.len());
        let size = self.text.get(..end).and_then(|digits| number(digits, 16));
        match size {
            // The rest of the number is not there.
            _ if self.is_cut && end == self.text.len() => Place::Beyond,
            Some(0) => Place::Trailers,
            Some(size) => size.checked_add(2).map_or(Place::Beyond, Place::Chunk),
            // hyper refuses it.
            None => Place::Beyond,
        }
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
        let Self { io, scanner } = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(io).poll_read(cx, buf))?;
        scanner.scan(buf.filled_mut().split_at_mut(before).1);
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
