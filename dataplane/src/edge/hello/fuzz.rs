//! The fuzzed property of the ClientHello reader: the result is the same in any fragmentation, and does not depend on
//! what follows.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, ReadBuf};

use super::{ClientHello, FIRST_READ, HelloError, read};
use crate::config::HELLO_BYTES;
use crate::metrics::Refusal;

/// A stream whose reads have the sizes in `sizes`, in a cycle.
struct Pieces<'a> {
    rest: &'a [u8],
    sizes: std::iter::Cycle<std::slice::Iter<'a, u8>>,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let size = self.sizes.next().map_or(1, |size| usize::from(*size)).max(1);
        let (piece, rest) = self.rest.split_at(size.min(self.rest.len()).min(buf.remaining()));
        buf.put_slice(piece);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}

/// The result of reading: whether the library accepted it, the server name, early data, and `acme`.
type HelloOutcome = Result<(Result<(), HelloError>, Option<Box<str>>, bool, bool), HelloError>;

/// Reads a ClientHello from `stream` in pieces of these sizes; returns the number of bytes read and the result.
fn outcome(stream: &[u8], sizes: &[u8]) -> (usize, HelloOutcome) {
    let mut pieces = Pieces { rest: stream, sizes: sizes.iter().cycle() };
    let done = read(&mut pieces).now_or_never();
    let taken = stream.len() - pieces.rest.len();
    assert!(taken <= HELLO_BYTES + FIRST_READ, "{taken} bytes were read");
    let done = done.unwrap_or_else(|| unreachable!("the stream is always ready"));
    let done = done.map(|ClientHello { accepted, raw, unfed, early_data, sni, acme }| {
        assert_eq!(raw, stream[..taken], "every byte is kept, and in order");
        assert!(unfed <= raw.len());
        if let Some(sni) = &sni {
            assert!(!sni.is_empty() && sni.is_ascii() && **sni == *sni.to_ascii_lowercase(), "{sni}");
        }
        (accepted.map(drop), sni, early_data, acme)
    });
    if let Err(HelloError { reason: Refusal::Closed, alert }) = &done {
        assert!(taken == stream.len() && alert.is_empty());
    }
    (taken, done)
}

/// Checks the property. The first byte of the input is the number of piece sizes that follow; the rest is the stream.
pub(crate) fn hello(input: &[u8]) {
    let Some((count, rest)) = input.split_first() else { return };
    let (sizes, stream) = rest.split_at(usize::from(*count).min(rest.len()));
    let (least, byte_by_byte) = outcome(stream, &[1]);
    for sizes in [&[255][..], sizes] {
        let (taken, whole) = outcome(stream, sizes);
        assert_eq!(whole, byte_by_byte, "in pieces of {sizes:?}");
        assert!(taken >= least);
    }
    // The bytes after a ClientHello do not change the result.
    if byte_by_byte.is_ok() {
        assert_eq!(outcome(&stream[..least], &[255]).1, byte_by_byte, "without what follows");
    }
}
