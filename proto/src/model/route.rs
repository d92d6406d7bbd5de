//! A route: one host and where it goes.

use std::sync::Arc;

use time::OffsetDateTime;

use super::options::{RouteOptions, UnsuitableOptionError};
use super::{Backends, Host, KeyId, Mode, RouteId};

/// The backends of a host, and how they are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The way its TLS is treated.
    pub mode: Mode,
    /// The backends to choose from.
    pub backends: Backends,
    /// The options; shared, since most routes have none but defaults.
    pub options: Arc<RouteOptions>,
}

impl Destination {
    /// Makes a destination; an option that a route of this mode cannot have is refused.
    pub fn new(mode: Mode, backends: Backends, options: RouteOptions) -> Result<Self, UnsuitableOptionError> {
        options.check_fits(mode)?;
        Ok(Self { mode, backends, options: options.share() })
    }
}

impl From<Backends> for Destination {
    /// Makes the destination of a terminated route whose options all have their defaults.
    fn from(backends: Backends) -> Self {
        Self { mode: Mode::default(), backends, options: RouteOptions::default().share() }
    }
}

/// One host and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its id.
    pub id: RouteId,
    /// The key that created it.
    pub owner: KeyId,
    /// Its host, unique over all owners.
    pub host: Host,
    /// The backends of the host, and how they are reached.
    pub destination: Destination,
    /// The revision of the store at which it last changed.
    pub version: u64,
    /// The time of its creation.
    pub created_at: OffsetDateTime,
    /// The time of its last change.
    pub updated_at: OffsetDateTime,
}
