//! The kinds of call errors that programs distinguish.

use http::StatusCode;
use webgateway_proto::api::jsonrpc::code;

/// The kind of a [`CallError`](super::CallError).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The response is unexpected, or something failed on this machine.
    Unexpected,
    /// The gateway cannot be reached, or is temporarily unavailable.
    Unreachable,
    /// The gateway does not accept the signature or the key.
    Unauthenticated,
    /// The key is not allowed to make this call.
    Forbidden,
    /// The object does not exist.
    NotFound,
    /// The call conflicts with the current state, such as a host that is taken.
    Conflict,
    /// The gateway rejects a parameter.
    InvalidParams,
}

impl ErrorKind {
    /// Returns the kind of a JSON-RPC error code ([`code`]).
    #[must_use]
    pub const fn from_code(code: i64) -> Self {
        match code {
            code::UNAUTHENTICATED => Self::Unauthenticated,
            code::FORBIDDEN => Self::Forbidden,
            code::NOT_FOUND => Self::NotFound,
            code::CONFLICT => Self::Conflict,
            code::INVALID_PARAMS | code::TOO_LARGE => Self::InvalidParams,
            code::UNAVAILABLE => Self::Unreachable,
            _ => Self::Unexpected,
        }
    }

    /// Returns the kind for the HTTP status of a response that is not JSON-RPC.
    #[must_use]
    pub const fn from_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthenticated,
            StatusCode::FORBIDDEN => Self::Forbidden,
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Self::Unreachable,
            _ => Self::Unexpected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_code_has_a_kind() {
        for (code, kind) in [
            (code::PARSE_ERROR, ErrorKind::Unexpected),
            (code::INVALID_REQUEST, ErrorKind::Unexpected),
            (code::METHOD_NOT_FOUND, ErrorKind::Unexpected),
            (code::INTERNAL_ERROR, ErrorKind::Unexpected),
            (code::UNAVAILABLE, ErrorKind::Unreachable),
            (code::UNAUTHENTICATED, ErrorKind::Unauthenticated),
            (code::FORBIDDEN, ErrorKind::Forbidden),
            (code::NOT_FOUND, ErrorKind::NotFound),
            (code::CONFLICT, ErrorKind::Conflict),
            (code::INVALID_PARAMS, ErrorKind::InvalidParams),
            (code::TOO_LARGE, ErrorKind::InvalidParams),
            (-1, ErrorKind::Unexpected),
        ] {
            assert_eq!(ErrorKind::from_code(code), kind, "{code}");
        }
    }
}
