//! The errors for requests whose body is not read, or whose client does not wait for the response.

use http::StatusCode;

use super::{ErrorBuilder, ErrorKind, HttpError};

/// Returns the error for a body of more than `limit` bytes.
pub(in crate::api) fn too_large(limit: usize) -> HttpError {
    let builder = ErrorBuilder::new(ErrorKind::BodyTooLarge).hint("send smaller requests");
    HttpError {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        error: builder.build(format!("the body is larger than {limit} bytes")),
    }
}

/// Returns the error for a body of another media type.
pub(in crate::api) fn not_json() -> HttpError {
    let builder = ErrorBuilder::new(ErrorKind::MediaType).hint("send `Content-Type: application/json`");
    let error = builder.build("the `Content-Type` of the request is not JSON");
    HttpError { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, error }
}

/// Returns the error for a body that did not arrive in time.
pub(in crate::api) fn too_slow() -> HttpError {
    let builder = ErrorBuilder::new(ErrorKind::Timeout);
    HttpError { status: StatusCode::REQUEST_TIMEOUT, error: builder.build("the body did not arrive in time") }
}

/// Returns the error for a body that was dropped because the bodies of all clients need too much memory.
pub(in crate::api) fn busy() -> HttpError {
    let builder =
        ErrorBuilder::new(ErrorKind::Unavailable).hint("nothing was changed; try again in a moment");
    let error = builder.build("too many requests are being received");
    HttpError { status: StatusCode::SERVICE_UNAVAILABLE, error }
}

/// Returns the error for a client that has closed its side of the connection and is no longer waited for.
pub(in crate::api) fn half_closed() -> HttpError {
    let builder = ErrorBuilder::new(ErrorKind::Timeout);
    let error = builder.build("the connection was half closed before the response was ready");
    HttpError { status: StatusCode::REQUEST_TIMEOUT, error }
}
