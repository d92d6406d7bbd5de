//! The table of errors and their responses: status, Proxy-Status (RFC 9209) and a text.

use http::{HeaderValue, Response, StatusCode, header};
use thiserror::Error;
use webgateway_process::HeadError;

use super::body::ResponseBody;
use super::framing::FramingError;
use super::headers::RequestError;
use crate::backend::dial::DialError;
use crate::backend::tls::TlsFault;
use crate::controlplane::ControlplaneError;

/// The reason why the gateway answers a request with an error response.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ProxyError {
    /// The request is malformed.
    #[error("The request cannot be forwarded: {0}.")]
    BadRequest(#[from] RequestError),
    /// The method is CONNECT.
    #[error("This gateway is not a forward proxy: CONNECT is not supported.")]
    Connect,
    /// The body of the request is too large for the route or the API.
    #[error("The request body is too large.")]
    BodyTooLarge,
    /// The body of an API request did not arrive in time.
    #[error("The request body did not arrive in time.")]
    BodyTimeout,
    /// The client half-closed the connection and did not get a response within the time limit for such clients.
    #[error("The connection was half closed before the response came.")]
    ClientGone,
    /// The certificate of the connection does not cover the host, or the host is not terminated here.
    #[error("This connection is for another host.")]
    Misdirected,
    /// The route does not admit clients with this address.
    #[error("Clients with your address may not use this site.")]
    Denied,
    /// The route is under maintenance; the text is the owner's.
    #[error("{text}")]
    Maintenance {
        /// The text.
        text: Box<str>,
        /// The time after which the client should try again, in seconds.
        retry_after: u32,
    },
    /// The client's network is above the rate limit of the route.
    #[error("Your network sends too many requests to this site. Try again in {retry_after} s.")]
    RateLimited {
        /// The time after which the client may try again, in seconds.
        retry_after: u32,
    },
    /// The request has no valid user name and password; the value is that of WWW-Authenticate.
    #[error("This site needs a valid user name and password.")]
    Unauthorized(HeaderValue),
    /// The client's network had too many failed sign-ins.
    #[error("Too many sign-ins from your network have failed. Try again in {retry_after} s.")]
    SignInLimited {
        /// The time after which the client may try again, in seconds.
        retry_after: u32,
    },
    /// Too many sign-ins are being verified.
    #[error("Too many users are signing in. Try again in a moment.")]
    SignInBusy,
    /// The authentication service of the route gave no valid response.
    #[error("This site's authentication service failed. {0}")]
    ForwardAuth(Box<ProxyError>),
    /// The response of the authentication service is too large.
    #[error("The response is too large.")]
    AuthResponseTooLarge,
    /// The host has no route.
    #[error("There is no route for this host.")]
    UnknownHost,
    /// CDN-Loop says that the request went through this gateway before.
    #[error("The request is in a loop: it came back to this gateway.")]
    Loop,
    /// No backend can be reached.
    #[error("The backend cannot be reached: {0}.")]
    Dial(#[from] DialError),
    /// The backend closed the connection without a response.
    #[error("The backend closed the connection without a response.")]
    ConnectionClosed,
    /// The backend's response is not valid HTTP; the text is the parser's.
    #[error("The backend's response is not valid HTTP: {0}.")]
    InvalidResponse(Box<str>),
    /// A line in the head of the backend's response is invalid or ambiguous.
    #[error("The backend's response cannot be forwarded: {0}.")]
    InvalidHead(#[from] HeadError),
    /// The framing of the backend's response is invalid or ambiguous.
    #[error("The backend's response cannot be forwarded: {0}.")]
    Framing(#[from] FramingError),
    /// The head of the backend's response is too large.
    #[error("The head of the backend's response is too large.")]
    HeadTooLarge,
    /// The backend did not respond in time.
    #[error("The backend did not respond in time.")]
    ResponseTimeout,
    /// The request took longer than the route allows in total.
    #[error("The request took longer than this site allows.")]
    TotalTimeout,
    /// The backend switched protocols without a request to, or to another protocol.
    #[error("The backend switched to a protocol that was not requested.")]
    UnexpectedUpgrade,
    /// The request asks for an upgrade, which HTTP/2 to the backends does not have.
    #[error("The backend speaks HTTP/2, over which no WebSocket can be opened here.")]
    UpgradeOverHttp2,
    /// The backend ended the connection or the stream, and says that it has not processed the request.
    #[error("The backend did not take the request. It is safe to send it again.")]
    Unprocessed,
    /// The backend reset the stream of the request.
    #[error("The backend reset the request: {0}.")]
    StreamReset(h2::Reason),
    /// The request to the API failed.
    #[error("The API is not available now: {0}. Traffic is not affected.")]
    Api(#[from] ControlplaneError),
}

/// The status and the proxy error type of a response.
struct ErrorStatus {
    status: StatusCode,
    /// The error type of RFC 9209 §2.3; `None` if no next hop was involved.
    error: Option<&'static str>,
}

impl ProxyError {
    fn status(&self) -> ErrorStatus {
        let of = |status, error| ErrorStatus { status, error };
        match self {
            Self::BadRequest(_) => of(StatusCode::BAD_REQUEST, None),
            Self::Connect => of(StatusCode::METHOD_NOT_ALLOWED, None),
            Self::BodyTooLarge => of(StatusCode::PAYLOAD_TOO_LARGE, Some("http_request_error")),
            Self::BodyTimeout | Self::ClientGone => of(StatusCode::REQUEST_TIMEOUT, None),
            Self::Misdirected => of(StatusCode::MISDIRECTED_REQUEST, None),
            Self::Denied => of(StatusCode::FORBIDDEN, Some("http_request_denied")),
            Self::Maintenance { .. } => of(StatusCode::SERVICE_UNAVAILABLE, Some("destination_unavailable")),
            Self::RateLimited { .. } | Self::SignInLimited { .. } => {
                of(StatusCode::TOO_MANY_REQUESTS, Some("http_request_denied"))
            }
            Self::Unauthorized(_) => of(StatusCode::UNAUTHORIZED, Some("http_request_denied")),
            Self::SignInBusy => of(StatusCode::SERVICE_UNAVAILABLE, Some("proxy_internal_error")),
            Self::ForwardAuth(cause) => cause.status(),
            Self::AuthResponseTooLarge => of(StatusCode::BAD_GATEWAY, Some("http_response_body_size")),
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
            Self::ResponseTimeout | Self::TotalTimeout => {
                of(StatusCode::GATEWAY_TIMEOUT, Some("http_response_timeout"))
            }
            Self::UnexpectedUpgrade => of(StatusCode::BAD_GATEWAY, Some("http_upgrade_failed")),
            Self::UpgradeOverHttp2 => of(StatusCode::NOT_IMPLEMENTED, Some("http_upgrade_failed")),
            Self::Unprocessed => of(StatusCode::SERVICE_UNAVAILABLE, Some("connection_terminated")),
            Self::StreamReset(_) => of(StatusCode::BAD_GATEWAY, Some("connection_terminated")),
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

    /// Returns the error type of RFC 9209 §2.3, if a next hop was involved.
    #[must_use]
    pub(crate) fn proxy_error(&self) -> Option<&'static str> {
        self.status().error
    }

    /// Returns the details for Proxy-Status (RFC 9209 §2.1.5), where the error type alone says too little.
    fn details(&self) -> Option<&'static str> {
        if let Self::Dial(DialError::Tls(fault)) = self { Some(fault.details()) } else { None }
    }

    /// Returns the value of Retry-After, in seconds, if the client should try again.
    fn retry_after(&self) -> Option<u32> {
        if let Self::Maintenance { retry_after, .. }
        | Self::RateLimited { retry_after }
        | Self::SignInLimited { retry_after } = self
        {
            return Some(*retry_after);
        }
        matches!(self, Self::SignInBusy).then_some(1)
    }

    /// Returns whether a backend accepted the request and gave no valid response.
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
                | Self::StreamReset(_)
        )
    }

    /// Returns the `reason` field of the log if the error is that a backend's response was refused.
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
            | Self::Denied
            | Self::Maintenance { .. }
            | Self::RateLimited { .. }
            | Self::Unauthorized(_)
            | Self::SignInLimited { .. }
            | Self::SignInBusy
            | Self::ForwardAuth(_)
            | Self::AuthResponseTooLarge
            | Self::UnknownHost
            | Self::Loop
            | Self::Dial(_)
            | Self::ConnectionClosed
            | Self::ResponseTimeout
            | Self::UpgradeOverHttp2
            | Self::Unprocessed
            | Self::StreamReset(_)
            | Self::TotalTimeout
            | Self::Api(_) => None,
        }
    }

    /// Creates the error response.
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
            && let Ok(value) = HeaderValue::try_from(proxy_status(error, self.details()))
        {
            headers.insert("proxy-status", value);
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Self::Unauthorized(challenge) = self {
            headers.insert(header::WWW_AUTHENTICATE, challenge.clone());
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
            | Self::Denied
            | Self::Maintenance { .. }
            | Self::RateLimited { .. }
            | Self::Unauthorized(_)
            | Self::SignInLimited { .. }
            | Self::SignInBusy
            | Self::ForwardAuth(_)
            | Self::AuthResponseTooLarge
            | Self::UnknownHost
            | Self::Loop
            | Self::Dial(_)
            | Self::ConnectionClosed
            | Self::InvalidResponse(_)
            | Self::InvalidHead(_)
            | Self::Framing(_)
            | Self::HeadTooLarge
            | Self::ResponseTimeout
            | Self::TotalTimeout
            | Self::UnexpectedUpgrade
            | Self::UpgradeOverHttp2
            | Self::Unprocessed
            | Self::StreamReset(_)
            | Self::Api(_) => {}
        }
        response
    }
}

fn proxy_status(error: &str, details: Option<&str>) -> String {
    match details {
        Some(details) => format!("webgateway; error={error}; details=\"{details}\""),
        None => format!("webgateway; error={error}"),
    }
}

const fn dial_status(error: DialError) -> StatusCode {
    match error {
        DialError::Tls(TlsFault::Timeout) | DialError::Timeout => StatusCode::GATEWAY_TIMEOUT,
        DialError::Tls(TlsFault::NoRoots) => StatusCode::INTERNAL_SERVER_ERROR,
        DialError::Refused
        | DialError::Unroutable
        | DialError::Tls(_)
        | DialError::NoHttp2
        | DialError::Other(_) => StatusCode::BAD_GATEWAY,
        DialError::Exhausted | DialError::Busy => StatusCode::SERVICE_UNAVAILABLE,
        DialError::OwnListener => StatusCode::LOOP_DETECTED,
    }
}

/// Classifies hyper's errors on a backend connection, after the request may have been sent.
impl From<&hyper::Error> for ProxyError {
    fn from(error: &hyper::Error) -> Self {
        if error.is_user() {
            // The request body, which the client sends, failed.
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
mod tests;
