//! The readings of a path. Servers do not agree on encoded slashes, empty segments, parameters and the like; a path may
//! only be forwarded if every server finds it under the same rule.
//!
//! Two readings decide about all others. The strict one only decodes; the lenient one also takes everything for a
//! separator, or drops it, that some server does. A segment of a rule's path has nothing to decode, split or drop, so a
//! reading in between finds at least the segments of a rule that the strict one finds, and at most those that the
//! lenient one finds. If these two find one rule, all do. Dot segments would break this, because they remove the
//! segment before them, so a path with dot segments, in any reading, has no readings.

use std::borrow::Cow;

/// The maximum number of times that a segment may be encoded.
const MAX_DECODINGS: usize = 3;

/// The strict and the lenient reading of a path, decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Readings<'a> {
    /// Both are the path itself.
    Same(&'a str),
    /// The two readings differ.
    Different {
        /// The decoded segments, where an encoded slash remains encoded, as it is not a separator.
        strict: String,
        /// The segments of a server that separates and drops as much as any.
        lenient: String,
    },
}

/// Returns the readings of a request's path; `None` if it has dot segments, invalid encodings, control characters, or
/// parameters with encoded separators.
pub(super) fn read(path: &str) -> Option<Readings<'_>> {
    if is_plain(path) {
        return Some(Readings::Same(path));
    }
    let below_root = path.strip_prefix('/')?;
    let (mut strict, mut lenient) = (String::with_capacity(path.len()), LenientReading::default());
    for segment in below_root.split('/') {
        let decoded = decode(segment, true)?;
        strict.push('/');
        strict.push_str(&decoded.replace('/', "%2F"));
        lenient.push(&decode_repeatedly(decoded)?)?;
    }
    Some(Readings::Different { strict, lenient: lenient.finish() })
}

/// Returns whether a path has one reading: nothing to decode, no empty segments, no parameters, and no segments that end
/// in a dot. Almost all paths are plain.
fn is_plain(path: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.~!$&'()*+,=:@".contains(&b);
    path.starts_with('/')
        && path.bytes().all(is_plain)
        && !path.contains("//")
        && !path.contains("./")
        && !path.ends_with('.')
}

/// The lenient reading, as far as the path was read.
#[derive(Debug, Default)]
struct LenientReading {
    path: String,
    ends_in_slash: bool,
    /// An encoded `?` or `#` has ended the path.
    has_ended: bool,
}

impl LenientReading {
    /// Reads a decoded segment; returns `None` if it has no reading.
    fn push(&mut self, segment: &str) -> Option<()> {
        const SEPARATORS: [char; 4] = ['/', '\\', '?', '#'];
        // The result would depend on whether a server drops parameters before or after it decodes.
        if segment.find(';').is_some_and(|at| segment[at..].contains(SEPARATORS)) {
            return None;
        }
        let mut parts = segment.split(SEPARATORS).map(without_parameters);
        if parts.any(|part| is_dots(part.trim_matches(' '))) {
            return None;
        }
        if self.has_ended {
            return Some(());
        }
        let end = segment.find(['?', '#']);
        for part in segment[..end.unwrap_or(segment.len())].split(['/', '\\']) {
            let part = without_parameters(part).trim_end_matches(['.', ' ']);
            self.ends_in_slash = part.is_empty();
            if !part.is_empty() {
                self.path.push('/');
                self.path.push_str(part);
            }
        }
        self.has_ended = end.is_some();
        Some(())
    }

    fn finish(mut self) -> String {
        if self.ends_in_slash {
            self.path.push('/');
        }
        self.path
    }
}

fn without_parameters(segment: &str) -> &str {
    segment.split(';').next().unwrap_or_default()
}

fn is_dots(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|b| b == b'.')
}

/// Decodes a segment until it has no encodings; `None` if it is encoded too often.
fn decode_repeatedly(mut segment: Cow<'_, str>) -> Option<Cow<'_, str>> {
    for _ in 0..MAX_DECODINGS {
        if !(0..segment.len()).any(|at| encoded_at(segment.as_bytes(), at).is_some()) {
            return Some(segment);
        }
        segment = Cow::Owned(decode(&segment, false)?.into_owned());
    }
    None
}

/// Decodes a segment once; `None` if the result is not UTF-8 or has control characters. An invalid encoding is an error
/// if the decoding is strict, and remains as it is otherwise.
fn decode(segment: &str, is_strict: bool) -> Option<Cow<'_, str>> {
    let bytes = segment.as_bytes();
    let decoded = if bytes.contains(&b'%') {
        let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
        while let Some(&byte) = bytes.get(at) {
            let encoded = encoded_at(bytes, at);
            if is_strict && byte == b'%' && encoded.is_none() {
                return None;
            }
            decoded.push(encoded.unwrap_or(byte));
            at += if encoded.is_some() { 3 } else { 1 };
        }
        Cow::Owned(String::from_utf8(decoded).ok()?)
    } else {
        Cow::Borrowed(segment)
    };
    (!decoded.contains(char::is_control)).then_some(decoded)
}

/// Returns the byte whose percent-encoding begins at this position.
fn encoded_at(bytes: &[u8], at: usize) -> Option<u8> {
    let [b'%', high, low] = bytes.get(at..at + 3)? else { return None };
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests;
