//! The errors of reading a feed message.

use thiserror::Error;

use crate::model::{
    InvalidBackendsError, InvalidCertificateError, InvalidHealthCheckError, InvalidHostError,
    UnsuitableOptionError,
};

/// A message of the feed, or a resource in it, that is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidMessageError {
    /// The resource's name does not match its content.
    #[error("the resource's name `{0}` does not match its content")]
    Name(String),
    /// The route's id does not have 16 bytes.
    #[error("the route id has {0} bytes instead of 16")]
    RouteId(usize),
    /// The host is invalid.
    #[error("invalid host: {0}")]
    Host(#[from] InvalidHostError),
    /// A backend is invalid or not allowed.
    #[error("invalid backends: {0}")]
    Backends(#[from] InvalidBackendsError),
    /// An enum has a value that this build does not know.
    #[error("{0} {1} is not known to this build: upgrade the node")]
    Enum(&'static str, i32),
    /// The certificate is invalid.
    #[error("invalid certificate: {0}")]
    Certificate(#[from] InvalidCertificateError),
    /// The health check is invalid.
    #[error("invalid health check: {0}")]
    Health(#[from] InvalidHealthCheckError),
    /// The route requires an option that this build does not know.
    #[error("the route option `{0}` is not known to this build: upgrade the node")]
    UnknownOption(String),
    /// The JSON of the route's options is not valid for this build.
    #[error("the route options cannot be read, upgrade the node if it is older than the controlplane: {0}")]
    Options(String),
    /// The route has an option that its mode does not allow.
    #[error("invalid option: {0}")]
    UnsuitableOption(#[from] UnsuitableOptionError),
    /// A ticket key has a wrong length, or there is none.
    #[error("the ticket keys are empty, or one has not a name of 16 bytes and a secret of 32")]
    TicketKeys,
    /// A prefix of `allowed_backends` is invalid.
    #[error("`{0}` is not an address prefix")]
    Prefix(String),
    /// The resource was rejected in an earlier process, and only its name is stored.
    #[error("the node rejected the resource when it was received, and has not stored it")]
    Stored,
    /// A forwarded API request or response is not valid HTTP.
    #[error("invalid {0} in an API call")]
    Call(&'static str),
}
