//! Routes: a host and its backends.

use std::sync::Arc;

use time::OffsetDateTime;

use super::options::{RouteOptions, UnsuitableOptionError};
use super::{Backend, Backends, Host, KeyId, Mode, RouteId};

/// The backends of a host, and how they are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The TLS mode.
    pub mode: Mode,
    /// The backends to choose from.
    pub backends: Backends,
    /// The options; shared, because most routes have the defaults only.
    pub options: Arc<RouteOptions>,
}

impl Destination {
    /// Makes a destination. Fails if the mode or the backends do not allow one of the options.
    pub fn new(mode: Mode, backends: Backends, options: RouteOptions) -> Result<Self, UnsuitableOptionError> {
        options.check_fits(mode)?;
        options.check_weights(&backends)?;
        Ok(Self { mode, backends, options: options.share() })
    }

    /// Iterates over all backends that requests may be sent to: those of the route and then those of its path rules,
    /// each once.
    pub fn all_backends(&self) -> impl Iterator<Item = Backend> {
        let own = self.backends.as_slice();
        let of_rules = self.options.paths.backends().iter().filter(|backend| !own.contains(backend));
        own.iter().chain(of_rules).copied()
    }
}

impl From<Backends> for Destination {
    /// Makes the destination of a terminated route whose options all have their defaults.
    fn from(backends: Backends) -> Self {
        Self { mode: Mode::default(), backends, options: RouteOptions::default().share() }
    }
}

/// A route: one host and its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The route's id.
    pub id: RouteId,
    /// The id of the key that created the route.
    pub owner: KeyId,
    /// The route's host, unique among all owners.
    pub host: Host,
    /// The backends of the host, and how they are reached.
    pub destination: Destination,
    /// The store's revision of its last change.
    pub version: u64,
    /// The time of its creation.
    pub created_at: OffsetDateTime,
    /// The time of its last change.
    pub updated_at: OffsetDateTime,
}
