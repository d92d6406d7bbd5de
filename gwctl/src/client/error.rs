//! Why a call has no result, and the kinds of it that a program tells apart.

use http::StatusCode;
use thiserror::Error;
use webgateway_proto::api::jsonrpc::{ErrorObject, code};
use webgateway_proto::httpsig::SignFailure;

use super::answer::NotRpc;
use super::transport::TransportError;

/// Why a call has no result.
#[derive(Debug, Error)]
pub enum CallError {
    /// Params that cannot be written.
    #[error("the request cannot be written: {0}")]
    Encode(#[source] serde_json::Error),
    /// A head that cannot be built.
    #[error("the request cannot be built: {0}")]
    Build(#[from] http::Error),
    /// It cannot be signed.
    #[error("the request cannot be signed: {0}")]
    Sign(#[from] SignFailure),
    /// No answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The gateway's error.
    #[error("{}", .0.message)]
    Refused(Box<ErrorObject>),
    /// An answer, but not the API's.
    #[error(transparent)]
    NotRpc(NotRpc),
    /// A result of another shape.
    #[error("the gateway's answer is not understood: {0}")]
    Decode(#[source] serde_json::Error),
}

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
    /// It clashes with what is there.
    Conflict,
    /// A value the gateway refuses.
    InvalidParams,
}

impl CallError {
    /// Of which kind it is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Encode(_) | Self::Build(_) | Self::Sign(_) | Self::Decode(_) => ErrorKind::Unexpected,
            Self::Transport(error) => error.kind(),
            Self::Refused(error) => ErrorKind::of_code(error.code),
            Self::NotRpc(answer) => ErrorKind::of_status(answer.status),
        }
    }
}

impl ErrorKind {
    /// What a JSON-RPC error code means ([`code`]).
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

    /// What the status of an answer means that is not JSON-RPC.
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
