//! Fuzz target of the strict stream: at most one line end is changed, and the same one independent of the split into
//! reads.

use super::Scanner;
use super::line::LINE;

/// Scans `stream` in pieces of `size` bytes, and returns the resulting bytes and the position of the change.
fn scanned(stream: &[u8], size: usize) -> (Vec<u8>, Option<usize>) {
    let (mut scanner, mut bytes) = (Scanner::default(), stream.to_vec());
    for piece in bytes.chunks_mut(size.max(1)) {
        let mut rest = piece;
        // Continues as if every upgrade were refused.
        while !rest.is_empty() {
            let behind = scanner.scan(rest);
            let (_, unread) = rest.split_at_mut(rest.len() - behind);
            rest = unread;
        }
        assert!(scanner.line.kept.len() <= LINE);
    }
    let at = (0..bytes.len()).find(|at| bytes.get(*at) != stream.get(*at));
    (bytes, at)
}

/// Scans a client's stream. The first byte of the input is the size of the pieces.
pub(crate) fn strict_http(input: &[u8]) {
    let Some((piece, stream)) = input.split_first() else { return };
    let (whole, at) = scanned(stream, usize::MAX);
    if let Some(at) = at {
        let expected = [stream.get(..at), Some(&[0]), stream.get(at + 1..)].into_iter().flatten();
        assert_eq!(whole, expected.collect::<Vec<_>>().concat(), "more than one byte is changed");
        assert_eq!(stream.get(at), Some(&b'\n'), "something else than a line end is changed");
        // The bytes before the change are valid on their own.
        assert_eq!(scanned(&stream[..at], usize::MAX).1, None);
    }
    // Longer lines are not kept completely if they arrive in pieces.
    if stream.split(|byte| *byte == b'\n').all(|line| line.len() <= LINE) {
        for size in [1, usize::from(*piece)] {
            assert_eq!(scanned(stream, size).1, at, "in pieces of {size}");
        }
    }
}
