//! A stream of HTTP/1 responses that rejects ambiguous heads and reports the violated rule.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use memchr::{memchr, memchr2};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::line::{CompleteLine, Line};

/// The maximum length of a field's name in an error, in bytes.
const SHOWN: usize = 64;

/// A stream from which a client reads HTTP/1 responses.
#[derive(Debug)]
pub struct StrictResponses<I> {
    io: I,
    heads: ResponseHeads,
    place: ResponsePosition,
    line: Line,
}

/// The state of the response heads of one connection. Clones share the state.
#[derive(Debug, Clone, Default)]
pub struct ResponseHeads(Arc<ResponseHeadsInner>);

#[derive(Debug, Default)]
struct ResponseHeadsInner {
    is_awaited: AtomicBool,
    error: OnceLock<HeadError>,
}

/// The reason that a response head was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct HeadError {
    /// The rule that a line violates.
    pub fault: HeadFault,
    /// The beginning of the field's name, escaped; empty if the line has none.
    pub field: Box<str>,
}

/// A violated rule of RFC 9112 for the lines of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadFault {
    /// The line ends in a bare LF (RFC 9112 §2.2).
    LineEnd,
    /// The line continues the previous one (RFC 9112 §5.2).
    Fold,
    /// The line has no field name, or white space before its colon (RFC 9112 §5.1).
    Name,
    /// The line contains a NUL or a CR (RFC 9110 §5.5).
    Control,
}

/// The position of the next byte within a response head.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ResponsePosition {
    /// In the status line.
    #[default]
    Status,
    /// In the fields. Another head follows an interim response (1xx).
    Fields { is_interim: bool },
}

impl<I> StrictResponses<I> {
    /// Makes a stream that scans the responses awaited by `heads`.
    #[must_use]
    pub fn new(io: I, heads: ResponseHeads) -> Self {
        Self { io, heads, place: ResponsePosition::default(), line: Line::default() }
    }
}

impl ResponseHeads {
    /// Announces that a request is about to be sent, so that the next byte is the first of its response.
    pub fn wait(&self) {
        self.0.is_awaited.store(true, Relaxed);
    }

    /// Returns the error of a rejected head, which was the last one of the connection.
    #[must_use]
    pub fn error(&self) -> Option<&HeadError> {
        self.0.error.get()
    }
}

impl<I> StrictResponses<I> {
    /// Scans bytes of a head, and invalidates it at a line that violates a rule.
    fn scan(&mut self, mut bytes: &mut [u8]) {
        let Self { heads, place, line, .. } = self;
        while !bytes.is_empty() {
            let Some(end) = memchr(b'\n', bytes) else { return line.keep(bytes) };
            let (begin, rest) = bytes.split_at_mut(end);
            let Some((lf, rest)) = rest.split_first_mut() else { return };
            let whole = line.end(begin);
            let next = place.after(&whole);
            if let Err(fault) = next {
                let _ = heads.0.error.set(HeadError { fault, field: name(&whole) });
                *lf = 0;
            }
            line.clear();
            let Ok(Some(next)) = next else {
                *place = ResponsePosition::default();
                return heads.0.is_awaited.store(false, Relaxed);
            };
            *place = next;
            bytes = rest;
        }
    }
}

impl ResponsePosition {
    /// Returns the position after a line; `None` after the head of a final response.
    fn after(self, line: &CompleteLine<'_>) -> Result<Option<Self>, HeadFault> {
        if !line.has_cr {
            return Err(HeadFault::LineEnd);
        }
        match self {
            // Leading empty lines are skipped.
            Self::Status if line.text.is_empty() => Ok(Some(Self::Status)),
            Self::Status => {
                let status = line.text.get(9..12).unwrap_or_default();
                let is_interim = status.starts_with(b"1") && status != b"101";
                check_value(line.text).map(|()| Some(Self::Fields { is_interim }))
            }
            Self::Fields { is_interim } if line.text.is_empty() => Ok(is_interim.then_some(Self::Status)),
            Self::Fields { .. } => check_field(line).map(|()| Some(self)),
        }
    }
}

/// Checks for ambiguities between parsers. hyper's parser rejects all other invalid characters.
fn check_field(line: &CompleteLine<'_>) -> Result<(), HeadFault> {
    if line.text.first().is_some_and(is_space) {
        return Err(HeadFault::Fold);
    }
    let name = memchr(b':', line.text).and_then(|colon| line.text.get(..colon));
    match name.map(<[u8]>::last) {
        Some(Some(last)) if !is_space(last) => check_value(line.text),
        None if line.is_cut => Ok(()),
        Some(_) | None => Err(HeadFault::Name),
    }
}

fn check_value(text: &[u8]) -> Result<(), HeadFault> {
    if memchr2(0, b'\r', text).is_some() { Err(HeadFault::Control) } else { Ok(()) }
}

fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn name(line: &CompleteLine<'_>) -> Box<str> {
    let name = line.text.split(|byte| *byte == b':').next().filter(|name| name.len() < line.text.len());
    let name = name.unwrap_or_default();
    name.get(..SHOWN).unwrap_or(name).escape_ascii().to_string().into()
}

impl HeadFault {
    /// Returns the metric label of the violated rule.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::LineEnd => "line_end",
            Self::Fold => "folded_line",
            Self::Name => "field_name",
            Self::Control => "control_character",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::LineEnd => "a line ends in LF without CR",
            Self::Fold => "a line is folded",
            Self::Name => "the name of a field is malformed",
            Self::Control => "a line has a NUL or a CR",
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.fault.words())?;
        if !self.field.is_empty() {
            write!(f, " (`{}`)", self.field)?;
        }
        Ok(())
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for StrictResponses<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        if this.heads.0.is_awaited.load(Relaxed) {
            this.scan(buf.filled_mut().split_at_mut(before).1);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for StrictResponses<I> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Scans `text` in reads of `size` bytes; returns what a client reads, the error, and whether more is awaited.
    fn scanned(text: &[u8], size: usize) -> (Vec<u8>, Option<HeadError>, bool) {
        let heads = ResponseHeads::default();
        heads.wait();
        let (mut responses, mut bytes) = (StrictResponses::new((), heads.clone()), text.to_vec());
        for piece in bytes.chunks_mut(size) {
            if heads.0.is_awaited.load(Relaxed) {
                responses.scan(piece);
            }
        }
        (bytes, heads.error().cloned(), heads.0.is_awaited.load(Relaxed))
    }

    const SIZES: [usize; 6] = [1, 2, 3, 7, 200, 4096];

    #[test]
    fn a_line_that_violates_a_rule_is_reported_and_invalidated() {
        use HeadFault::{Control, Fold, LineEnd, Name};
        for (text, fault, field) in [
            ("HTTP/1.1 200 OK\nA: b\r\n\r\n", LineEnd, ""),
            ("HTTP/1.1 200 OK\r\nX-A: b\nC: d\r\n\r\n", LineEnd, "X-A"),
            ("HTTP/1.1 200 OK\r\nX-A: b\r\n\n", LineEnd, ""),
            ("\nHTTP/1.1 200 OK\r\n\r\n", LineEnd, ""),
            ("HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\n\r\n", Fold, ""),
            ("HTTP/1.1 200 OK\r\n\tX-A: b\r\n\r\n", Fold, "\\tX-A"),
            ("HTTP/1.1 200 OK\r\nX-A : b\r\n\r\n", Name, "X-A "),
            ("HTTP/1.1 200 OK\r\nX-A\t: b\r\n\r\n", Name, "X-A\\t"),
            ("HTTP/1.1 200 OK\r\n: b\r\n\r\n", Name, ""),
            ("HTTP/1.1 200 OK\r\nnothing\r\n\r\n", Name, ""),
            ("HTTP/1.1 200 OK\r\nX-A: b\0\r\n\r\n", Control, "X-A"),
            ("HTTP/1.1 200 OK\r\nX-A: b\rc\r\n\r\n", Control, "X-A"),
            ("HTTP/1.1 200 OK\r\nX-A: b\r\r\n\r\n", Control, "X-A"),
            ("HTTP/1.1 200 O\rK\r\n\r\n", Control, ""),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-A: b\n\r\n", LineEnd, "X-A"),
        ] {
            for size in SIZES {
                let (got, error, is_awaited) = scanned(text.as_bytes(), size);
                let error = error.unwrap_or_else(|| panic!("{text:?} in reads of {size} passes"));
                assert_eq!((error.fault, &*error.field), (fault, field), "{text:?} in reads of {size}");
                let changed = (0..got.len()).filter(|&at| got[at] != text.as_bytes()[at]);
                assert_eq!(changed.map(|at| got[at]).collect::<Vec<_>>(), [0], "{text:?} in reads of {size}");
                assert!(!is_awaited);
            }
        }
    }

    #[test]
    fn valid_responses_and_content_pass_unchanged() {
        let long = format!("HTTP/1.1 200 OK\r\nX-A: {}\r\n\r\n\n", "y".repeat(1000));
        for text in [
            "HTTP/1.1 200\r\n\r\n\n\n",
            "\r\nHTTP/1.1 200 OK\r\nX-A:\tb \u{e9}\r\nx_b:\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n1\n",
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n a\nb\0",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nX\n\n",
            &long,
        ] {
            for size in SIZES {
                let (got, error, is_awaited) = scanned(text.as_bytes(), size);
                assert_eq!((got.as_slice(), error), (text.as_bytes(), None), "{text:?} in reads of {size}");
                assert!(!is_awaited, "the head ends in {text:?}");
            }
        }
    }
}
