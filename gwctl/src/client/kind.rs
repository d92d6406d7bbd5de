//! The kinds of failure that a program tells apart.

use http::StatusCode;
use webgateway_proto::api::jsonrpc::code;

/// The kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// An answer nobody expected, or a fault on this machine.
    Unexpected,
    /// No gateway there, or not now.
    Unreachable,
    /// Signature or key not accepted.
    Unauthenticated,
    /// The key may not do that.
    Forbidden,
    /// Not there.
    NotFound,
    /// A clash with what is there.
    Conflict,
    /// A value the gateway refuses.
    InvalidParams,
}

impl ErrorKind {
    /// Returns the kind of a JSON-RPC error code ([`code`]).
    #[must_use]
    pub const fn of_code(code: i64) -> Self {
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

    /// Returns the kind of an answer that is not JSON-RPC, by its status.
    #[must_use]
    pub const fn of_status(status: StatusCode) -> Self {
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
    fn the_gateways_codes_have_kinds() {
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
            assert_eq!(ErrorKind::of_code(code), kind, "{code}");
        }
    }
}
