//! The one table that turns errors into responses: status, Proxy-Status (RFC 9209), a line for people.

use http::{HeaderValue, Response, StatusCode, header};
use thiserror::Error;
use webgateway_process::HeadError;

use super::body::ResponseBody;
use super::framing::FramingError;
use super::headers::RequestError;
use crate::backend::dial::DialError;
use crate::controlplane::ControlplaneError;

/// The reason why a request is answered by the gateway itself, with an error.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ProxyError {
    /// The request is malformed.
    #[error("The request cannot be passed on: {0}.")]
    BadRequest(#[from] RequestError),
    /// The method is CONNECT.
    #[error("This gateway is no forward proxy.")]
    Connect,
    /// An API request's body is too large.
    #[error("The body is too large.")]
    BodyTooLarge,
    /// An API request's body took too long.
    #[error("The body took too long.")]
    BodyTimeout,
    /// The client sent its end, and the answer takes longer than it is waited for then.
    #[error("The connection was half closed before the answer came.")]
    ClientGone,
    /// The host is not one that this connection is for.
    #[error("This connection is for another host.")]
    Misdirected,
    /// The host has no route.
    #[error("No route leads there.")]
    UnknownHost,
    /// The request has been here before.
    #[error("The request came back to this gateway.")]
    Loop,
    /// No backend can be reached.
    #[error("The backend cannot be reached: {0}.")]
    Dial(#[from] DialError),
    /// The backend closed the connection before it answered.
    #[error("The backend closed the connection without an answer.")]
    ConnectionClosed,
    /// The backend's answer is no HTTP, as the parser says.
    #[error("The backend's answer is not HTTP: {0}.")]
    InvalidResponse(Box<str>),
    /// A line in the head of the backend's answer can be read in two ways, or in none.
    #[error("The backend's answer cannot be passed on: {0}.")]
    InvalidHead(#[from] HeadError),
    /// The end of the backend's answer is in doubt.
    #[error("The backend's answer cannot be passed on: {0}.")]
    Framing(#[from] FramingError),
    /// The backend's answer has a head that is too large.
    #[error("The backend's answer has too large a head.")]
    HeadTooLarge,
    /// The backend did not answer in time.
    #[error("The backend did not answer in time.")]
    ResponseTimeout,
    /// The backend switched protocols unasked, or to another one.
    #[error("The backend switched protocols as it was not asked to.")]
    UnexpectedUpgrade,
    /// The API cannot be reached.
    #[error("The API is not available now: {0}. Traffic is not affected.")]
    Api(#[from] ControlplaneError),
}

/// The status and the proxy error type of a response.
struct ErrorStatus {
    status: StatusCode,
    /// The error type of RFC 9209 §2.3; none if no next hop was involved.
    error: Option<&'static str>,
}

impl ProxyError {
    fn status(&self) -> ErrorStatus {
        let of = |status, error| ErrorStatus { status, error };
        match self {
            Self::BadRequest(_) => of(StatusCode::BAD_REQUEST, None),
            Self::Connect => of(StatusCode::METHOD_NOT_ALLOWED, None),
            Self::BodyTooLarge => of(StatusCode::PAYLOAD_TOO_LARGE, None),
            Self::BodyTimeout | Self::ClientGone => of(StatusCode::REQUEST_TIMEOUT, None),
            Self::Misdirected => of(StatusCode::MISDIRECTED_REQUEST, None),
            Self::UnknownHost => of(StatusCode::SERVICE_UNAVAILABLE, Some("destination_not_found")),
            Self::Loop => of(StatusCode::LOOP_DETECTED, Some("proxy_loop_detected")),
            Self::Dial(error) => of(dial_status(*error), Some(error.proxy_error())),
            Self::ConnectionClosed => of(StatusCode::BAD_GATEWAY, Some("connection_terminated")),
            Self::InvalidResponse(_) | Self::InvalidHead(_) => {
                of(StatusCode::BAD_GATEWAY, Some("http_protocol_error"))
            }
            Self::Framing(FramingError::Coding) => {
                of(StatusCode::BAD_GATEWAY, Some("http_response_transfer_coding"))
            }
            Self::Framing(FramingError::Length | FramingError::CodingInHttp10) => {
                of(StatusCode::BAD_GATEWAY, Some("http_protocol_error"))
            }
            Self::HeadTooLarge => of(StatusCode::BAD_GATEWAY, Some("http_response_header_section_size")),
            Self::ResponseTimeout => of(StatusCode::GATEWAY_TIMEOUT, Some("http_response_timeout")),
            Self::UnexpectedUpgrade => of(StatusCode::BAD_GATEWAY, Some("http_upgrade_failed")),
            Self::Api(ControlplaneError::Unavailable) => {
                of(StatusCode::SERVICE_UNAVAILABLE, Some("destination_unavailable"))
            }
            Self::Api(ControlplaneError::Busy) => {
                of(StatusCode::SERVICE_UNAVAILABLE, Some("connection_limit_reached"))
            }
            Self::Api(ControlplaneError::Timeout) => {
                of(StatusCode::GATEWAY_TIMEOUT, Some("http_response_timeout"))
            }
            Self::Api(ControlplaneError::Failed) => of(StatusCode::BAD_GATEWAY, Some("http_protocol_error")),
        }
    }

    /// Returns the error type of RFC 9209 §2.3, where a next hop was involved.
    #[must_use]
    pub(crate) fn proxy_error(&self) -> Option<&'static str> {
        self.status().error
    }

    /// Returns whether a backend took the request and gave no valid response.
    #[must_use]
    pub(crate) fn is_backend_fault(&self) -> bool {
        matches!(
            self,
            Self::ConnectionClosed
                | Self::InvalidResponse(_)
                | Self::InvalidHead(_)
                | Self::Framing(_)
                | Self::HeadTooLarge
                | Self::ResponseTimeout
        )
    }

    /// Returns the label of the reason why a backend's answer is refused, if that is the error.
    #[must_use]
    pub(super) fn refusal_reason(&self) -> Option<&'static str> {
        match self {
            Self::InvalidResponse(_) => Some("syntax"),
            Self::InvalidHead(error) => Some(error.fault.label()),
            Self::Framing(FramingError::Length) => Some("content_length"),
            Self::Framing(FramingError::Coding | FramingError::CodingInHttp10) => Some("transfer_encoding"),
            Self::HeadTooLarge => Some("head_size"),
            Self::UnexpectedUpgrade => Some("upgrade"),
            Self::BadRequest(_)
            | Self::Connect
            | Self::BodyTooLarge
            | Self::BodyTimeout
            | Self::ClientGone
            | Self::Misdirected
            | Self::UnknownHost
            | Self::Loop
            | Self::Dial(_)
            | Self::ConnectionClosed
            | Self::ResponseTimeout
            | Self::Api(_) => None,
        }
    }

    /// Returns the response that says so.
    #[must_use]
    pub(crate) fn response(&self) -> Response<ResponseBody> {
        let ErrorStatus { status, error } = self.status();
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
            Self::BadRequest(_)
            | Self::Connect
            | Self::BodyTooLarge
            | Self::BodyTimeout
            | Self::ClientGone => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Self::Misdirected
            | Self::UnknownHost
            | Self::Loop
            | Self::Dial(_)
            | Self::ConnectionClosed
            | Self::InvalidResponse(_)
            | Self::InvalidHead(_)
            | Self::Framing(_)
            | Self::HeadTooLarge
            | Self::ResponseTimeout
            | Self::UnexpectedUpgrade
            | Self::Api(_) => {}
        }
        response
    }
}

const fn dial_status(error: DialError) -> StatusCode {
    match error {
        DialError::Refused | DialError::Unroutable | DialError::Other(_) => StatusCode::BAD_GATEWAY,
        DialError::Timeout => StatusCode::GATEWAY_TIMEOUT,
        DialError::Exhausted => StatusCode::SERVICE_UNAVAILABLE,
        DialError::OwnListener => StatusCode::LOOP_DETECTED,
    }
}

/// Names what hyper says of an exchange with a backend, after the request may have been sent.
impl From<&hyper::Error> for ProxyError {
    fn from(error: &hyper::Error) -> Self {
        if error.is_user() {
            // What failed is the body that the client sends.
            Self::BadRequest(RequestError::InvalidBody)
        } else if error.is_parse_too_large() {
            Self::HeadTooLarge
        } else if error.is_parse() {
            Self::InvalidResponse(error.to_string().into())
        } else if error.is_timeout() {
            Self::ResponseTimeout
        } else {
            Self::ConnectionClosed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_apart() {
        for (fault, status, proxy_status) in [
            (ProxyError::Dial(DialError::Refused), 502, Some("webgateway; error=connection_refused")),
            (ProxyError::Dial(DialError::Timeout), 504, Some("webgateway; error=connection_timeout")),
            (ProxyError::UnknownHost, 503, Some("webgateway; error=destination_not_found")),
            (ProxyError::Dial(DialError::OwnListener), 508, Some("webgateway; error=proxy_loop_detected")),
            (ProxyError::Loop, 508, Some("webgateway; error=proxy_loop_detected")),
            (ProxyError::Misdirected, 421, None),
        ] {
            let response = fault.response();
            assert_eq!(response.status().as_u16(), status);
            let header = response.headers().get("proxy-status").map(|v| v.to_str().unwrap());
            assert_eq!(header, proxy_status);
        }
    }
}
