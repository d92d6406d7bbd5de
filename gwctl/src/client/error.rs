//! The error of a call.

use thiserror::Error;
use webgateway_proto::api::jsonrpc::ErrorObject;
use webgateway_proto::httpsig::SignFailure;

use super::kind::ErrorKind;
use super::not_rpc::NotRpcError;
use super::transport::TransportError;

/// A call that has no result.
#[derive(Debug, Error)]
pub enum CallError {
    /// The params cannot be written.
    #[error("the request cannot be written: {0}")]
    Encode(#[source] serde_json::Error),
    /// The head of the request cannot be built.
    #[error("the request cannot be built: {0}")]
    Build(#[from] http::Error),
    /// The request cannot be signed.
    #[error("the request cannot be signed: {0}")]
    Sign(#[from] SignFailure),
    /// There is no answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The gateway refused the call.
    #[error("{}", .0.message)]
    Refused(Box<ErrorObject>),
    /// The answer is not the API's.
    #[error(transparent)]
    NotRpc(NotRpcError),
    /// The result has another shape.
    #[error("the gateway's answer is not understood: {0}")]
    Decode(#[source] serde_json::Error),
}

impl CallError {
    /// Returns the kind of this error.
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
