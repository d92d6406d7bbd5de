//! The framing of proxied messages (RFC 9112 §6). It is not forwarded, but made anew from the parsed message.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRAILER, TRANSFER_ENCODING};
use http::{Method, Response, StatusCode, Version, request};
use http_body::{Body, Frame};
use thiserror::Error;

use super::headers::{content_length, is_hop_by_hop, is_reserved, named_by_connection};

/// The content of a message, as its parser found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// No content.
    Empty,
    /// Content of this many bytes.
    Length(u64),
    /// Content of unknown length, such as chunked content.
    Unknown,
}

/// The reason why the end of a backend's response is ambiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum FramingError {
    /// A Content-Length is not a number, or several of them differ.
    #[error("its Content-Length is invalid")]
    Length,
    /// Transfer-Encoding is something else than `chunked` alone.
    #[error("its Transfer-Encoding is not chunked alone")]
    Coding,
    /// An HTTP/1.0 response has a Transfer-Encoding (RFC 9112 §6.1).
    #[error("it has a Transfer-Encoding, which HTTP/1.0 does not have")]
    CodingInHttp10,
}

/// The direction of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// A request to a backend.
    ToBackend,
    /// A response to a client.
    ToClient,
}

/// The rules for the trailers of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TrailerRules {
    direction: Direction,
    /// The fields that may not be trailers: those that Connection names in the head of the message, and others.
    excluded: Vec<HeaderName>,
}

impl Content {
    /// Returns the content of a body that was not read from yet.
    pub(crate) fn of_body(body: &impl Body) -> Self {
        if body.is_end_stream() {
            return Self::Empty;
        }
        body.size_hint().exact().map_or(Self::Unknown, Self::Length)
    }
}

/// Sets the framing of a request to a backend, whose hop-by-hop fields were removed.
///
/// The content is framed whatever the method is, as hyper drops unframed content of a GET or HEAD.
pub(crate) fn frame_request(head: &mut request::Parts, content: Content, rules: &TrailerRules) {
    let headers = &mut head.headers;
    // HTTP/1.1 has trailers in chunked content only; HTTP/2 has them beside a Content-Length too.
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
        // RFC 9110 §8.6: a method that expects content has `Content-Length: 0` if there is none.
        Content::Empty | Content::Unknown => {
            let expects_content = matches!(head.method, Method::POST | Method::PUT | Method::PATCH);
            if expects_content || headers.contains_key(CONTENT_LENGTH) {
                set_length(headers, 0);
            }
        }
    }
}

/// Checks the framing of a backend's response and sets that of the response to the client. Returns whether the backend
/// connection can be used again.
///
/// # Errors
///
/// Fails if the end of the response is ambiguous.
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
    // hyper may take leftover content of this response for the head of the next one.
    let is_ambiguous =
        is_coded && (length.is_some() || is_bodiless) || is_bodiless && length.is_some_and(|n| n > 0);
    match length {
        Some(_) if is_coded || is_bodiless => drop(headers.remove(CONTENT_LENGTH)),
        Some(length) => set_length(headers, length),
        None => {}
    }
    // After an HTTP/1.0 response, hyper would not send chunked requests on the connection.
    Ok(!is_ambiguous && !is_old)
}

impl TrailerRules {
    /// Creates the rules for a message in this direction, from its head as it was received.
    #[must_use]
    pub(crate) fn from_head(headers: &HeaderMap, direction: Direction) -> Self {
        Self { direction, excluded: named_by_connection(headers) }
    }

    /// Excludes further fields, which the sender may not set.
    #[must_use]
    pub(crate) fn excluding<'a>(mut self, names: impl Iterator<Item = &'a HeaderName>) -> Self {
        self.excluded.extend(names.cloned());
        self
    }

    /// Removes trailers that may not be forwarded from a frame; `None` if nothing is left. Data frames are unchanged.
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
        is_trailer(name, self.direction) && !self.excluded.iter().any(|named| named == name)
    }
}

/// Returns whether the message is chunked; an error if it has any other transfer coding.
fn is_chunked(headers: &HeaderMap) -> Result<bool, FramingError> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(false) };
    let is_chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
    if is_chunked { Ok(true) } else { Err(FramingError::Coding) }
}

/// Makes `length`, which the parser found in Content-Length, its single value.
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

/// Removes from Trailer the names that these rules do not admit; without rules, all of them.
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

/// Returns whether a field may be a trailer. Fields that may not be forwarded as headers may not, nor may those that
/// control framing, routing, authentication or the processing of the content (RFC 9110 §6.5.1).
fn is_trailer(name: &str, direction: Direction) -> bool {
    let is_header_only = matches!(
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
    let is_ours = direction == Direction::ToBackend && is_reserved(name);
    !(is_header_only || is_ours || is_hop_by_hop(name))
}

#[cfg(test)]
mod tests;
