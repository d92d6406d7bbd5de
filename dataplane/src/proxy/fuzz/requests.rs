//! The property of requests: whatever a client sends, the backend reads the same requests.

use super::gateway::{BodyRecord, CDN_ID, CLIENT, ForwardedRequest, exchange};
use super::reference::{Fields, Message, MessageReader, ReadError, Side};
use super::trailers::is_header_only;

/// The response of the backend.
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
/// The maximum part of a line that [`webgateway_process::StrictHttp`] keeps between two reads, in bytes.
const LINE: usize = 128;

/// Checks the property. The first byte of the input is the size of pieces; the rest is the client's stream.
pub(crate) fn requests(input: &[u8]) {
    let Some((piece, stream)) = input.split_first() else { return };
    let whole = exchange(stream, RESPONSE, usize::MAX);
    for forwarded in &whole.forwarded {
        assert_same_as_sent(forwarded, stream);
        assert_unambiguous(forwarded);
    }
    if stream.split(|byte| *byte == b'\n').any(|line| line.len() > LINE) {
        return;
    }
    let cut = exchange(stream, RESPONSE, usize::from(*piece));
    assert_eq!(whole.forwarded.len(), cut.forwarded.len(), "in pieces of {piece}");
    for (one, other) in whole.forwarded.iter().zip(&cut.forwarded) {
        let in_short = |forwarded: &ForwardedRequest| {
            let body = forwarded.request.borrow();
            let authority = forwarded.authority.clone();
            (forwarded.method.clone(), forwarded.path.clone(), authority, body.data.clone(), body.is_broken)
        };
        assert_eq!(in_short(one), in_short(other), "in pieces of {piece}");
    }
}

/// Checks that a strict parser reads this request from the client's stream, at the same position.
fn assert_same_as_sent(forwarded: &ForwardedRequest, stream: &[u8]) {
    let body = forwarded.request.borrow();
    let mut reader = MessageReader { rest: stream };
    for _ in 0..forwarded.index {
        let before = reader.message(Side::Client);
        assert!(before.is_ok(), "before what was forwarded on: {before:?}");
    }
    let message = match reader.message(Side::Client) {
        Ok(message) => message,
        Err(ReadError::Incomplete) => return assert!(body.is_broken, "cut off, but forwarded on as whole"),
        Err(ReadError::Invalid(_)) if body.is_broken => return,
        Err(ReadError::Invalid(what)) => unreachable!("{what} was forwarded on"),
    };
    assert!(!body.is_broken, "{message:?} is not forwarded on");
    assert_eq!(message.content, body.data);
    assert_eq!(message.start[0], forwarded.method.as_str().as_bytes());
    assert_eq!(path(&message.start[1]), forwarded.path.as_bytes());
    let trailers: Fields =
        body.trailers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    let names = |fields: &Fields| {
        let mut names: Vec<String> = fields.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&message.trailers), names(&trailers));
}

/// Returns the path and the query of a request's target (RFC 9112 §3.2), without a fragment.
fn path(target: &[u8]) -> Vec<u8> {
    let target = target.split(|byte| *byte == b'#').next().unwrap_or_default();
    if target.starts_with(b"/") || target == b"*" {
        return target.to_vec();
    }
    let authority = target.windows(3).position(|three| three == b"://").map_or(0, |at| at + 3);
    let authority = target.get(authority..).unwrap_or_default();
    match authority.iter().position(|byte| matches!(byte, b'/' | b'?')) {
        Some(at) if authority[at] == b'/' => authority[at..].to_vec(),
        Some(at) => [b"/", &authority[at..]].concat(),
        None => b"/".to_vec(),
    }
}

/// Checks that the bytes sent to the backend are exactly this request, and unambiguous.
fn assert_unambiguous(forwarded: &ForwardedRequest) {
    let (sent, body) = (forwarded.sent.borrow(), forwarded.request.borrow());
    let mut reader = MessageReader { rest: &sent };
    let message = match reader.message(Side::Client) {
        Ok(message) => message,
        Err(ReadError::Incomplete) => {
            return assert!(body.is_broken, "the backend waits for the rest of {forwarded:?}");
        }
        Err(ReadError::Invalid(what)) => unreachable!("{what} is sent: {}", sent.escape_ascii()),
    };
    assert!(!body.is_broken, "a part is sent as a whole: {}", sent.escape_ascii());
    assert!(reader.rest.is_empty(), "more than one request: {}", sent.escape_ascii());
    assert_eq!(
        message.start,
        [forwarded.method.as_str(), &forwarded.path, "HTTP/1.1"].map(|part| part.as_bytes().to_vec())
    );
    assert_eq!(message.content, body.data);
    assert_fields_of_hop(&message, forwarded);
    assert_trailers(&message, &body);
}

fn assert_fields_of_hop(message: &Message, forwarded: &ForwardedRequest) {
    let ours: [(&str, &[u8]); 4] = [
        ("host", &forwarded.authority),
        ("x-forwarded-host", &forwarded.authority),
        ("x-forwarded-for", CLIENT.as_bytes()),
        ("x-forwarded-proto", b"https"),
    ];
    for (name, value) in ours {
        assert_eq!(message.values(name), [value], "{name}");
    }
    assert_eq!(message.values("cdn-loop").last(), Some(&CDN_ID.as_bytes()));
    let is_awaited = |name: &str| ours.iter().any(|(our, _)| *our == name);
    for (name, value) in &message.fields {
        let value = value.as_slice();
        let is_fit = match name.as_str() {
            "connection" => value == b"te" || value == b"upgrade",
            "te" => value == b"trailers",
            "upgrade" => value == b"websocket",
            "transfer-encoding" => value == b"chunked",
            "content-length" => value == b"0" || !value.starts_with(b"0"),
            "trailer" => value
                .split(|byte| *byte == b',')
                .all(|name| !is_header_only(&name.trim_ascii().to_ascii_lowercase())),
            "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "expect"
            | "http2-settings"
            | "forwarded"
            | "x-real-ip" => false,
            name => !name.contains('_') && (!name.starts_with("x-forwarded-") || is_awaited(name)),
        };
        assert!(is_fit, "{name}: {} is sent", value.escape_ascii());
    }
    assert!(message.values("content-length").len() <= 1, "two lengths");
    assert!(message.values("cookie").len() <= 1, "two cookies");
}

/// Checks that the trailers are the client's, without those that may not be forwarded.
fn assert_trailers(message: &Message, body: &BodyRecord) {
    for (name, value) in &message.trailers {
        let mut values = body.trailers.get_all(name).iter();
        assert!(values.any(|sent| sent.as_bytes() == value.as_slice()), "the client did not send {name}");
        assert!(!is_header_only(name.as_bytes()) && !name.contains('_'), "{name} is a trailer");
    }
}
