//! The reasons why a body ends early.

use thiserror::Error;
use webgateway_process::BodyExpiredError;

/// The reason why a body ended early.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    /// The connection of the sender failed.
    #[error(transparent)]
    Peer(#[from] hyper::Error),
    /// The client did not read the API's response in time.
    #[error(transparent)]
    ApiTimeout(#[from] BodyExpiredError),
    /// The backend sent nothing for too long.
    #[error("the backend sent nothing for too long")]
    Timeout,
    /// The request took longer than the route allows in total.
    #[error("the request took too long in total")]
    TotalTimeout,
    /// The request's body is larger than the route allows.
    #[error("the request body is too large")]
    TooLarge,
    /// The route was suspended, or it was deleted and its drain has ended.
    #[error("the route was suspended or deleted")]
    RouteClosed,
    /// The client stalled, and the worker's backlog is over its limit.
    #[error("the client does not read, and too many others do not either")]
    Stalled,
}
