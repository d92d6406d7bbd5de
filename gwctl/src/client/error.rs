//! The error of a call.

use thiserror::Error;
use webgateway_proto::api::jsonrpc::ErrorObject;
use webgateway_proto::httpsig::SignError;

use super::kind::ErrorKind;
use super::transport::TransportError;
use super::unexpected_response::UnexpectedResponseError;

/// A failed call.
#[derive(Debug, Error)]
pub enum CallError {
    /// The params cannot be serialised.
    #[error("the request cannot be serialised: {0}")]
    Encode(#[source] serde_json::Error),
    /// The HTTP request cannot be built.
    #[error("the request cannot be built: {0}")]
    Build(#[from] http::Error),
    /// The request cannot be signed.
    #[error("the request cannot be signed: {0}")]
    Sign(#[from] SignError),
    /// The request was not sent, or no response was received.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The gateway returned an error.
    #[error("{}", .0.message)]
    Rpc(Box<ErrorObject>),
    /// The response is not JSON-RPC.
    #[error(transparent)]
    UnexpectedResponse(UnexpectedResponseError),
    /// The result does not have the expected type.
    #[error("the gateway's response has an unexpected format: {0}")]
    Decode(#[source] serde_json::Error),
}

impl CallError {
    /// Returns the kind of this error.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Encode(_) | Self::Build(_) | Self::Sign(_) | Self::Decode(_) => ErrorKind::Unexpected,
            Self::Transport(error) => error.kind(),
            Self::Rpc(error) => ErrorKind::from_code(error.code),
            Self::UnexpectedResponse(error) => ErrorKind::from_status(error.status),
        }
    }
}
