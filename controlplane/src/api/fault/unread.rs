//! The errors about the body of a request, which did not come as it has to.

use http::StatusCode;

use super::{HttpError, Kind, Row};

/// A body over the limit.
pub(in crate::api) fn too_large(limit: usize) -> HttpError {
    let row = Row::new(Kind::BodyTooLarge).hint("send less at a time");
    HttpError {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        error: row.say(format!("the body is over {limit} bytes")),
    }
}

/// A body of another type.
pub(in crate::api) fn not_json() -> HttpError {
    let row = Row::new(Kind::MediaType).hint("send `Content-Type: application/json`");
    let error = row.say("the body is said to be something else than JSON");
    HttpError { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, error }
}

/// A body that did not come in time.
pub(in crate::api) fn too_slow() -> HttpError {
    let row = Row::new(Kind::Timeout);
    HttpError { status: StatusCode::REQUEST_TIMEOUT, error: row.say("the body did not arrive in time") }
}

/// A body whose memory went to another client's.
pub(in crate::api) fn busy() -> HttpError {
    let row = Row::new(Kind::Unavailable).hint("nothing was changed; try again in a moment");
    let error = row.say("too many requests are under way");
    HttpError { status: StatusCode::SERVICE_UNAVAILABLE, error }
}

/// A client that has sent its end and is waited for no longer.
pub(in crate::api) fn gone() -> HttpError {
    let row = Row::new(Kind::Timeout);
    let error = row.say("the connection was half closed before the answer came");
    HttpError { status: StatusCode::REQUEST_TIMEOUT, error }
}
