//! The one table that turns what went wrong into an answer: status, Proxy-Status (RFC 9209), a line for people.

use http::{HeaderValue, Response, StatusCode, header};
use thiserror::Error;

use super::body::ResponseBody;
use super::headers::BadRequest;
use crate::backend::dial::DialError;
use crate::feed::client::ApiUnavailable;

/// What went wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// It is no request that can be passed on.
    #[error("The request cannot be passed on: {0}.")]
    BadRequest(#[from] BadRequest),
    /// CONNECT.
    #[error("This gateway is no forward proxy.")]
    Connect,
    /// An API request's body is too large.
    #[error("The body is too large.")]
    TooLarge,
    /// An API request's body took too long.
    #[error("The body took too long.")]
    TooSlow,
    /// A host that this connection is not for.
    #[error("This connection is for another host.")]
    Misdirected,
    /// A host nobody has.
    #[error("No route leads there.")]
    UnknownHost,
    /// It has been here before.
    #[error("The request came back to this gateway.")]
    Loop,
    /// No backend can be reached.
    #[error("The backend cannot be reached: {0}.")]
    Dial(DialError),
    /// The backend hung up.
    #[error("The backend closed the connection without an answer.")]
    Hangup,
    /// The backend's answer is no HTTP.
    #[error("The backend's answer is not HTTP.")]
    Garbage,
    /// The backend's answer has a head that is too large.
    #[error("The backend's answer has too large a head.")]
    LargeHead,
    /// The backend did not answer in time.
    #[error("The backend did not answer in time.")]
    Silence,
    /// The backend switched protocols unasked, or to another one.
    #[error("The backend switched protocols as it was not asked to.")]
    Upgrade,
    /// The API cannot be reached.
    #[error("The API is not available now: {0}. Traffic is not affected.")]
    Api(ApiUnavailable),
}

/// An answer, but for its text.
struct Verdict {
    status: StatusCode,
    /// RFC 9209 §2.3 error type; none if no next hop was involved.
    error: Option<&'static str>,
}

impl Fault {
    fn verdict(&self) -> Verdict {
        let of = |status, error| Verdict { status, error };
        match self {
            Self::BadRequest(_) => of(StatusCode::BAD_REQUEST, None),
            Self::Connect => of(StatusCode::METHOD_NOT_ALLOWED, None),
            Self::TooLarge => of(StatusCode::PAYLOAD_TOO_LARGE, None),
            Self::TooSlow => of(StatusCode::REQUEST_TIMEOUT, None),
            Self::Misdirected => of(StatusCode::MISDIRECTED_REQUEST, None),
            Self::UnknownHost => of(StatusCode::SERVICE_UNAVAILABLE, Some("destination_not_found")),
            Self::Loop => of(StatusCode::LOOP_DETECTED, Some("proxy_loop_detected")),
            Self::Dial(DialError::Refused) => of(StatusCode::BAD_GATEWAY, Some("connection_refused")),
            Self::Dial(DialError::Timeout) => of(StatusCode::GATEWAY_TIMEOUT, Some("connection_timeout")),
            Self::Dial(DialError::Unroutable) => {
                of(StatusCode::BAD_GATEWAY, Some("destination_ip_unroutable"))
            }
            Self::Dial(DialError::Exhausted) => {
                of(StatusCode::SERVICE_UNAVAILABLE, Some("connection_limit_reached"))
            }
            Self::Dial(DialError::Ourselves) => of(StatusCode::LOOP_DETECTED, Some("proxy_loop_detected")),
            Self::Dial(DialError::Other(_)) => of(StatusCode::BAD_GATEWAY, Some("destination_unavailable")),
            Self::Hangup => of(StatusCode::BAD_GATEWAY, Some("connection_terminated")),
            Self::Garbage => of(StatusCode::BAD_GATEWAY, Some("http_protocol_error")),
            Self::LargeHead => of(StatusCode::BAD_GATEWAY, Some("http_response_header_section_size")),
            Self::Silence => of(StatusCode::GATEWAY_TIMEOUT, Some("http_response_timeout")),
            Self::Upgrade => of(StatusCode::BAD_GATEWAY, Some("http_upgrade_failed")),
            Self::Api(ApiUnavailable::Away) => {
                of(StatusCode::SERVICE_UNAVAILABLE, Some("destination_unavailable"))
            }
            Self::Api(ApiUnavailable::Busy) => {
                of(StatusCode::SERVICE_UNAVAILABLE, Some("connection_limit_reached"))
            }
            Self::Api(ApiUnavailable::Timeout) => {
                of(StatusCode::GATEWAY_TIMEOUT, Some("http_response_timeout"))
            }
            Self::Api(ApiUnavailable::Failed) => of(StatusCode::BAD_GATEWAY, Some("http_protocol_error")),
        }
    }

    /// The RFC 9209 error type, where a next hop was involved.
    #[must_use]
    pub fn error_type(&self) -> Option<&'static str> {
        self.verdict().error
    }

    /// Whether a backend took the request and gave no answer that is one.
    #[must_use]
    pub fn is_backends(&self) -> bool {
        matches!(self, Self::Hangup | Self::Garbage | Self::LargeHead | Self::Silence)
    }

    /// The answer.
    #[must_use]
    pub fn response(&self) -> Response<ResponseBody> {
        let Verdict { status, error } = self.verdict();
        let text = format!("{} {}\n{self}\n", status.as_u16(), status.canonical_reason().unwrap_or_default());
        let mut response = Response::new(ResponseBody::fixed(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(error) = error
            && let Ok(value) = HeaderValue::from_str(&format!("webgateway; error={error}"))
        {
            headers.insert("proxy-status", value);
        }
        match self {
            Self::BadRequest(_) | Self::Connect | Self::TooLarge | Self::TooSlow => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Self::Misdirected
            | Self::UnknownHost
            | Self::Loop
            | Self::Dial(_)
            | Self::Hangup
            | Self::Garbage
            | Self::LargeHead
            | Self::Silence
            | Self::Upgrade
            | Self::Api(_) => {}
        }
        response
    }
}

/// What hyper says of an exchange with a backend, after the request may have been sent.
impl From<&hyper::Error> for Fault {
    fn from(error: &hyper::Error) -> Self {
        if error.is_user() {
            // What failed is the body that the visitor sends.
            Self::BadRequest(BadRequest::Body)
        } else if error.is_parse_too_large() {
            Self::LargeHead
        } else if error.is_parse() {
            Self::Garbage
        } else if error.is_timeout() {
            Self::Silence
        } else {
            Self::Hangup
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_apart() {
        for (fault, status, proxy_status) in [
            (Fault::Dial(DialError::Refused), 502, Some("webgateway; error=connection_refused")),
            (Fault::Dial(DialError::Timeout), 504, Some("webgateway; error=connection_timeout")),
            (Fault::UnknownHost, 503, Some("webgateway; error=destination_not_found")),
            (Fault::Dial(DialError::Ourselves), 508, Some("webgateway; error=proxy_loop_detected")),
            (Fault::Loop, 508, Some("webgateway; error=proxy_loop_detected")),
            (Fault::Misdirected, 421, None),
        ] {
            let response = fault.response();
            assert_eq!(response.status().as_u16(), status);
            let header = response.headers().get("proxy-status").map(|v| v.to_str().unwrap());
            assert_eq!(header, proxy_status);
        }
    }
}
