//! Why a call has no result.

use thiserror::Error;
use webgateway_proto::api::jsonrpc::ErrorObject;
use webgateway_proto::httpsig::SignFailure;

use super::kind::ErrorKind;
use super::not_rpc::NotRpcError;
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
    NotRpc(NotRpcError),
    /// A result of another shape.
    #[error("the gateway's answer is not understood: {0}")]
    Decode(#[source] serde_json::Error),
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
