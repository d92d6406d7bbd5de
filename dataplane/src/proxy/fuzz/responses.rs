//! The property of responses: whatever a backend sends, the client reads one response with the same content.

use super::gateway::{ForwardedRequest, Outcome, exchange};
use super::reference::{Message, MessageReader, ReadError, Side};
use super::trailers::is_header_only;

/// The requests of the client.
const REQUESTS: [&str; 4] = [
    "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "GET / HTTP/1.0\r\nHost: a.example\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nTE: trailers\r\n\r\nhello",
];

/// Checks the property. The first byte of the input selects the request and the size of pieces; the rest is the
/// backend's stream.
pub(crate) fn responses(input: &[u8]) {
    let Some((choice, stream)) = input.split_first() else { return };
    let request = REQUESTS[usize::from(choice & 3)];
    let whole = exchange(request.as_bytes(), stream, usize::MAX);
    let cut = exchange(request.as_bytes(), stream, usize::from(choice >> 2));
    let ([one], [other]) = (&whole.forwarded[..], &cut.forwarded[..]) else { unreachable!("{whole:?}") };
    assert_eq!((one.status.get(), whole.parsed), (other.status.get(), cut.parsed));
    let (of_one, of_other) = (one.response.borrow(), other.response.borrow());
    assert_eq!((&of_one.data, of_one.is_broken), (&of_other.data, of_other.is_broken), "in pieces");
    assert_unambiguous(&whole, one, request);
    assert_same_as_sent(one, stream, request);
}

/// Checks that the bytes sent to the client are exactly one response, and unambiguous.
fn assert_unambiguous(outcome: &Outcome, forwarded: &ForwardedRequest, request: &str) {
    let (body, is_head, is_old) =
        (forwarded.response.borrow(), request.starts_with("HEAD"), request.contains("HTTP/1.0"));
    let output = &outcome.output;
    let mut reader = MessageReader { rest: output };
    let message = match reader.message(Side::Backend { is_head }) {
        Ok(message) => message,
        Err(ReadError::Incomplete) => return assert!(body.is_broken, "{}", output.escape_ascii()),
        Err(ReadError::Invalid(what)) => unreachable!("{what} is sent: {}", output.escape_ascii()),
    };
    assert!(reader.rest.is_empty(), "more than one response: {}", output.escape_ascii());
    let status = forwarded.status.get();
    if status == 0 {
        return assert!(message.start[1].starts_with(b"50"), "{message:?}");
    }
    assert_eq!(message.start[1], status.to_string().as_bytes());
    // HTTP/1.0 cannot tell one from the other.
    assert!(!body.is_broken || (is_old && message.is_ended_by_close), "a part is sent as a whole");
    let is_bodiless = is_head || matches!(status, 204 | 304);
    assert!(is_bodiless || message.content == body.data, "{message:?}, {body:?}");
    assert_fields_of_hop(&message, is_old);
}

fn assert_fields_of_hop(message: &Message, is_old: bool) {
    for (name, value) in &message.fields {
        let value = value.as_slice();
        let is_fit = match name.as_str() {
            "connection" => value == b"close" || value == b"keep-alive",
            "transfer-encoding" => value == b"chunked" && !is_old,
            "content-length" => value == b"0" || !value.starts_with(b"0"),
            "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "upgrade"
            | "http2-settings" => false,
            _ => true,
        };
        assert!(is_fit, "{name}: {} is sent", value.escape_ascii());
    }
    assert!(message.values("content-length").len() <= 1, "two lengths");
    for (name, _) in &message.trailers {
        assert!(!is_header_only(name.as_bytes()), "{name} is a trailer");
    }
}

/// Checks that a strict parser reads the same content from the backend's stream, if it accepts it.
fn assert_same_as_sent(forwarded: &ForwardedRequest, stream: &[u8], request: &str) {
    if forwarded.status.get() == 0 {
        return;
    }
    let side = Side::Backend { is_head: request.starts_with("HEAD") };
    let body = forwarded.response.borrow();
    let mut reader = MessageReader { rest: stream };
    loop {
        match reader.message(side) {
            // Interim responses are not forwarded.
            Ok(message) if message.start[1].starts_with(b"1") => {}
            Ok(message) => return assert_eq!((&message.content, false), (&body.data, body.is_broken)),
            Err(ReadError::Incomplete) => {
                return assert!(body.is_broken, "cut off, but forwarded on as whole");
            }
            // The gateway's parser is more lenient with backends, which are trusted not to smuggle requests.
            Err(ReadError::Invalid(_)) => return,
        }
    }
}
