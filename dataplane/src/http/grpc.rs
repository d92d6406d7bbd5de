//! Error responses to gRPC clients: a gRPC status instead of a text, so that applications see the reason.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};

use super::body::ResponseBody;
use super::error::ProxyError;

/// The content type of gRPC, which a format may follow (`application/grpc+proto`).
const CONTENT: &str = "application/grpc";

/// Returns whether a request is a gRPC call.
#[must_use]
pub(crate) fn is_call<B>(request: &Request<B>) -> bool {
    let is_grpc = |value: &HeaderValue| {
        let rest = value.as_bytes().strip_prefix(CONTENT.as_bytes());
        // `application/grpc-web` is another protocol.
        rest.is_some_and(|rest| rest.first().is_none_or(|next| matches!(next, b'+' | b';')))
    };
    request.version() == Version::HTTP_2
        && request.method() == Method::POST
        && request.headers().get(CONTENT_TYPE).is_some_and(is_grpc)
}

/// Creates the error response to a gRPC call: Trailers-Only, with the status that clients derive from the HTTP status.
#[must_use]
pub(crate) fn error_response(error: &ProxyError) -> Response<ResponseBody> {
    let mut response = error.response();
    let Some(code) = code(response.status()) else { return response };
    *response.status_mut() = StatusCode::OK;
    *response.body_mut() = ResponseBody::fixed("");
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT));
    headers.insert("grpc-status", HeaderValue::from(code));
    if let Ok(message) = HeaderValue::try_from(encoded(&error.to_string())) {
        headers.insert("grpc-message", message);
    }
    response
}

/// Returns the gRPC status code for an HTTP status, by the table of gRPC; `None` if the HTTP status must stay, as 421
/// makes the client use another connection.
fn code(status: StatusCode) -> Option<u16> {
    const PERMISSION_DENIED: u16 = 7;
    const RESOURCE_EXHAUSTED: u16 = 8;
    const UNIMPLEMENTED: u16 = 12;
    const INTERNAL: u16 = 13;
    const UNAVAILABLE: u16 = 14;
    const UNAUTHENTICATED: u16 = 16;
    const UNKNOWN: u16 = 2;
    Some(match status.as_u16() {
        421 => return None,
        400 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        413 => RESOURCE_EXHAUSTED,
        429 | 502..=504 => UNAVAILABLE,
        _ => UNKNOWN,
    })
}

/// Encodes a text for `grpc-message`: all but printable ASCII, and the percent sign, in percent notation.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => encoded.push_str(&format!("%{byte:02X}")),
            printable => encoded.push(char::from(printable)),
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::dial::DialError;

    #[test]
    fn only_grpc_calls_get_a_grpc_status() {
        for (version, method, content, expected) in [
            (Version::HTTP_2, Method::POST, "application/grpc", true),
            (Version::HTTP_2, Method::POST, "application/grpc+proto", true),
            (Version::HTTP_2, Method::POST, "application/grpc;x=y", true),
            (Version::HTTP_2, Method::POST, "application/grpc-web", false),
            (Version::HTTP_2, Method::POST, "application/json", false),
            (Version::HTTP_2, Method::GET, "application/grpc", false),
            (Version::HTTP_11, Method::POST, "application/grpc", false),
        ] {
            let request = Request::builder().version(version).method(method).header(CONTENT_TYPE, content);
            assert_eq!(is_call(&request.body(()).unwrap()), expected, "{version:?} {content}");
        }
    }

    #[test]
    fn errors_become_grpc_statuses() {
        for (error, status, grpc) in [
            (ProxyError::Dial(DialError::Refused), 200, "14"),
            (ProxyError::ResponseTimeout, 200, "14"),
            (ProxyError::UnknownHost, 200, "14"),
            (ProxyError::Denied, 200, "7"),
            (ProxyError::BodyTooLarge, 200, "8"),
            (ProxyError::Loop, 200, "2"),
            (ProxyError::Misdirected, 421, ""),
        ] {
            let response = error_response(&error);
            let field = |name| response.headers().get(name).map_or("", |value| value.to_str().unwrap());
            assert_eq!((response.status().as_u16(), field("grpc-status")), (status, grpc), "{error}");
            assert_eq!(field("grpc-message").is_empty(), grpc.is_empty(), "{error}");
        }
        assert_eq!(encoded("100 % of \u{e9}\n"), "100 %25 of %C3%A9%0A");
    }
}
