//! The faults of a message.

use thiserror::Error;

use crate::model::{
    InvalidBackendsError, InvalidCertificateError, InvalidHealthCheckError, InvalidHostError,
    UnsuitableOptionError,
};

/// A message of the feed, or a resource in it, that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidMessageError {
    /// Its name does not fit what it carries.
    #[error("the resource is named `{0}`, which is not what it carries")]
    Name(String),
    /// A route's id is not 16 bytes.
    #[error("the route id has {0} bytes instead of 16")]
    RouteId(usize),
    /// A host that is none.
    #[error("invalid host: {0}")]
    Host(#[from] InvalidHostError),
    /// Backends that are none, or not allowed.
    #[error("invalid backends: {0}")]
    Backends(#[from] InvalidBackendsError),
    /// An enum value this build does not know.
    #[error("{0} {1} is not known to this build")]
    Enum(&'static str, i32),
    /// A certificate that is none.
    #[error("invalid certificate: {0}")]
    Certificate(#[from] InvalidCertificateError),
    /// A health check that is none.
    #[error("invalid health check: {0}")]
    Health(#[from] InvalidHealthCheckError),
    /// The route requires an option that this build does not know.
    #[error("the route option `{0}` is not known to this build: upgrade the node")]
    UnknownOption(String),
    /// The route has an option that its mode does not allow.
    #[error("invalid option: {0}")]
    UnsuitableOption(#[from] UnsuitableOptionError),
    /// Ticket keys of a wrong length, or none at all.
    #[error("ticket keys have a name of 16 and a secret of 32 bytes, and there is at least one")]
    TicketKeys,
    /// A prefix that is none.
    #[error("`{0}` is not an address prefix")]
    Prefix(String),
    /// What was kept of a resource is its name alone.
    #[error("it could not be used when it came, and is not kept")]
    Kept,
    /// An API call or answer that is no HTTP.
    #[error("invalid {0} in an API call")]
    Call(&'static str),
}
