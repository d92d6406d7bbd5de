//! The framing of a message on its way through: made anew from what was parsed, never passed on (RFC 9112 §6). Pure.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRAILER, TRANSFER_ENCODING};
use http::{Method, Response, StatusCode, Version, request};
use http_body::{Body, Frame};
use thiserror::Error;

use super::headers::{content_length, is_for_the_edge, is_hop_by_hop, named_by_connection};

/// The content of a message, as its parser found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// No content.
    Empty,
    /// Content of this many bytes.
    Length(u64),
    /// Content that ends where its framing says so.
    Unknown,
}

/// The reason why a backend's answer has no end that everybody agrees on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum FramingError {
    /// A Content-Length that is no number, or several that differ.
    #[error("its Content-Length is invalid")]
    Length,
    /// A Transfer-Encoding that is not `chunked` alone.
    #[error("its Transfer-Encoding is not chunked alone")]
    Coding,
    /// A Transfer-Encoding in HTTP/1.0, which has none (RFC 9112 §6.1).
    #[error("its Transfer-Encoding does not go with HTTP/1.0")]
    CodingInHttp10,
}

/// The way that a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// A request.
    ToBackend,
    /// A response.
    ToClient,
}

/// The rules for the trailers of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TrailerRules {
    direction: Direction,
    /// The fields that Connection names in the head.
    hop_by_hop: Vec<HeaderName>,
}

impl Content {
    /// Returns the content of a body of which nothing was read yet.
    pub(crate) fn of_body(body: &impl Body) -> Self {
        if body.is_end_stream() {
            return Self::Empty;
        }
        body.size_hint().exact().map_or(Self::Unknown, Self::Length)
    }
}

/// FrameTracker a request that was stripped of what is hop by hop. Whatever its method, its content is framed, as hyper drops
/// that of a GET or HEAD which is not.
pub(crate) fn frame_request(head: &mut request::Parts, content: Content, rules: &TrailerRules) {
    let headers = &mut head.headers;
    // HTTP/1.1 has trailers only where the content is chunked; in HTTP/2 they go with a length, too.
    let is_chunked = match content {
        Content::Empty => false,
        Content::Length(_) => head.version == Version::HTTP_2 && headers.contains_key(TRAILER),
        Content::Unknown => true,
    };
    announce_trailers(headers, is_chunked.then_some(rules));
    match content {
        _ if is_chunked => {
            headers.remove(CONTENT_LENGTH);
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        Content::Length(length) => set_length(headers, length),
        // RFC 9110 §8.6: where content is awaited, none is a length of 0.
        Content::Empty | Content::Unknown => {
            let is_awaited = matches!(head.method, Method::POST | Method::PUT | Method::PATCH);
            if is_awaited || headers.contains_key(CONTENT_LENGTH) {
                set_length(headers, 0);
            }
        }
    }
}

/// Checks the framing of a backend's answer and leaves what describes it to the client; returns whether the connection
/// that it came by can be used again.
///
/// # Errors
///
/// Fails if the end of the answer can be read in two ways, or in none.
pub(crate) fn frame_response<B>(
    response: &mut Response<B>,
    is_head: bool,
    rules: &TrailerRules,
) -> Result<bool, FramingError> {
    let (status, is_old) = (response.status(), response.version() < Version::HTTP_11);
    let headers = response.headers_mut();
    let is_coded = is_chunked(headers)?;
    if is_coded && is_old {
        return Err(FramingError::CodingInHttp10);
    }
    let length = content_length(headers).map_err(|()| FramingError::Length)?;
    let is_bodiless = status == StatusCode::NO_CONTENT || status.is_informational();
    announce_trailers(headers, (is_coded && !is_bodiless && !is_head).then_some(rules));
    // What hyper takes for the head of the next answer may be the content of this one.
    let is_doubtful =
        is_coded && (length.is_some() || is_bodiless) || is_bodiless && length.is_some_and(|n| n > 0);
    match length {
        Some(_) if is_coded || is_bodiless => drop(headers.remove(CONTENT_LENGTH)),
        Some(length) => set_length(headers, length),
        None => {}
    }
    // To a backend of HTTP/1.0, hyper sends no chunks on the same connection, and no content of unknown length.
    Ok(!is_doubtful && !is_old)
}

impl TrailerRules {
    /// Returns the rules for a message that goes this way, by its head as it was received.
    #[must_use]
    pub(crate) fn from_head(headers: &HeaderMap, direction: Direction) -> Self {
        Self { direction, hop_by_hop: named_by_connection(headers) }
    }

    /// Returns the part of a frame that may pass: of trailers, what may come as a header as well; `None` if that is
    /// nothing.
    pub(crate) fn filter(&self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let mut trailers = match frame.into_trailers() {
            Ok(trailers) => trailers,
            Err(data) => return Some(data),
        };
        let dropped: Vec<HeaderName> =
            trailers.keys().filter(|name| !self.admits(name.as_str())).cloned().collect();
        dropped.iter().for_each(|name| drop(trailers.remove(name)));
        (!trailers.is_empty()).then(|| Frame::trailers(trailers))
    }

    fn admits(&self, name: &str) -> bool {
        is_trailer(name, self.direction) && !self.hop_by_hop.iter().any(|named| named == name)
    }
}

/// Returns whether the only coding is `chunked`; false if there is none.
fn is_chunked(headers: &HeaderMap) -> Result<bool, FramingError> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(false) };
    let is_chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
    if is_chunked { Ok(true) } else { Err(FramingError::Coding) }
}

/// Makes Content-Length the one field with this number, which the parser found there.
fn set_length(headers: &mut HeaderMap, length: u64) {
    let mut fields = headers.get_all(CONTENT_LENGTH).iter();
    let is_plain = |field: &HeaderValue| match field.as_bytes() {
        [b'0', _, ..] => false,
        digits => digits.iter().all(u8::is_ascii_digit),
    };
    if !(fields.next().is_some_and(is_plain) && fields.next().is_none()) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Leaves in Trailer the names of those that may pass by these rules; without rules, none.
fn announce_trailers(headers: &mut HeaderMap, rules: Option<&TrailerRules>) {
    if !headers.contains_key(TRAILER) {
        return;
    }
    let lines = headers.get_all(TRAILER).iter().filter_map(|line| line.to_str().ok());
    let names = lines.flat_map(|line| line.split(',')).map(|name| name.trim().to_ascii_lowercase());
    let names = names.filter(|name| !name.is_empty());
    let passing: Vec<String> = match rules {
        Some(rules) => names.filter(|name| rules.admits(name)).collect(),
        None => Vec::new(),
    };
    match HeaderValue::try_from(passing.join(", ")) {
        Ok(names) if !names.is_empty() => drop(headers.insert(TRAILER, names)),
        _ => drop(headers.remove(TRAILER)),
    }
}

/// Returns whether a field may come as a trailer: neither what may not come as a header either, nor what decides on
/// framing, routing, authentication or the use of the content (RFC 9110 §6.5.1).
fn is_trailer(name: &str, direction: Direction) -> bool {
    let is_early = matches!(
        name,
        "age"
            | "authorization"
            | "cache-control"
            | "cdn-loop"
            | "content-encoding"
            | "content-length"
            | "content-range"
            | "content-type"
            | "cookie"
            | "expect"
            | "host"
            | "max-forwards"
            | "range"
            | "set-cookie"
            | "trailer"
    ) || name.starts_with("if-");
    let is_ours = direction == Direction::ToBackend && is_for_the_edge(name);
    !(is_early || is_ours || is_hop_by_hop(name))
}

#[cfg(test)]
mod tests;
