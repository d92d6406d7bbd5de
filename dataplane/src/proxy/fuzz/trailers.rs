//! The property of trailers: a forwarded trailer is a field that would be forwarded as a header, and does not control
//! the message.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;

use super::gateway::{CDN_ID, CLIENT};
use crate::http::framing::{Direction, TrailerRules};
use crate::http::headers::{self, Forwarded};

/// Returns whether a field cannot be a trailer: it controls framing, routing, authentication or the processing of the
/// content (RFC 9110 §6.5.1), or is hop by hop (§7.6.1).
pub(super) fn is_header_only(name: &[u8]) -> bool {
    const HEADER_ONLY: [&str; 24] = [
        "authorization",
        "cache-control",
        "cdn-loop",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "cookie",
        "expect",
        "host",
        "if-match",
        "if-none-match",
        "if-range",
        "keep-alive",
        "max-forwards",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    HEADER_ONLY.iter().any(|field| field.as_bytes() == name)
}

/// Checks the property. Each line of the input is a field; other lines are skipped.
pub(crate) fn trailers(input: &[u8]) {
    let mut fields = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) else {
            continue;
        };
        fields.append(name, value);
    }
    for direction in [Direction::ToBackend, Direction::ToClient] {
        let forwarded = TrailerRules::from_head(&HeaderMap::new(), direction)
            .filter(Frame::<Bytes>::trailers(fields.clone()));
        let forwarded = forwarded.and_then(|frame| frame.into_trailers().ok());
        assert!(forwarded.as_ref().is_none_or(|forwarded| !forwarded.is_empty()), "trailers without a field");
        let forwarded = forwarded.unwrap_or_default();
        for name in forwarded.keys() {
            let values = |fields: &HeaderMap| fields.get_all(name).iter().cloned().collect::<Vec<_>>();
            assert_eq!(values(&forwarded), values(&fields), "{name}");
            assert!(!is_header_only(name.as_str().as_bytes()), "{name} is a trailer");
            assert_eq!(values(&as_headers(&fields, name, direction)), values(&fields), "{name} is no header");
        }
    }
}

/// Returns the fields that are forwarded in this direction if `name` is a header.
fn as_headers(fields: &HeaderMap, name: &HeaderName, direction: Direction) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.extend(fields.get_all(name).iter().map(|value| (name.clone(), value.clone())));
    match direction {
        Direction::ToClient => headers::to_client(&mut headers, false),
        Direction::ToBackend => {
            let authority = &HeaderValue::from_static("a.example");
            let (client, cdn_id) = (HeaderValue::from_static(CLIENT), HeaderValue::from_static(CDN_ID));
            let forwarded = Forwarded {
                client: &client,
                authority,
                proto: "https",
                cdn_id: &cdn_id,
                upgrade: false,
                changes: &[],
            };
            headers::to_backend(&mut headers, forwarded);
        }
    }
    headers
}
