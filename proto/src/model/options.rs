//! The options of a route: everything it says beyond its host, its mode and its backends.
//!
//! This is the one place that declares them. Each is a field of [`RouteOptions`] and of its patch, which are flattened
//! into the API, the manifest, the feed file and the audit, stored as one JSON object, and sent as one message.

mod declare;
mod patch;

use std::sync::{Arc, LazyLock};

use thiserror::Error;

use self::declare::options;
pub use self::patch::Patch;
use super::words::{Describe, words};
use super::{HealthCheck, Mode, Probe};

options! {
    /// How a backend is chosen.
    #[serde(default)]
    balance: Balance = Balance::Random;
    /// Active checks of the backends; without them they are judged by the traffic alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    health: Option<HealthCheck> =
        HealthCheck::new(Some("/healthz"), HealthCheck::INTERVAL, HealthCheck::RISE, HealthCheck::FALL).ok();
    /// The `Host` that a backend of a terminated route gets; `X-Forwarded-Host` always has the client's.
    #[serde(default, skip_serializing_if = "HostHeader::is_preserve")]
    host_header: HostHeader = HostHeader::Backend;
}

words! {
    /// The order in which the backends of a route are chosen.
    pub enum Balance {
        /// One after the other.
        #[default]
        RoundRobin = "round_robin",
        /// Any of them.
        Random = "random",
    }
}

words! {
    /// The `Host` of a request to a backend.
    pub enum HostHeader {
        /// The host that the client asked for.
        #[default]
        Preserve = "preserve",
        /// The backend's own address and port.
        Backend = "backend",
    }
}

impl HostHeader {
    const fn is_preserve(&self) -> bool {
        matches!(self, Self::Preserve)
    }
}

/// An option that a route of its mode cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UnsuitableOptionError {
    /// A health check with a path on a passthrough route.
    #[error(
        "a passthrough route's backends speak TLS of their own: they are checked by connecting, without a path"
    )]
    HealthPath,
    /// An option about HTTP on a passthrough route.
    #[error("`{0}` is about HTTP, which the gateway does not see on a passthrough route")]
    TerminatedOnly(&'static str),
}

impl UnsuitableOptionError {
    /// The name of the option.
    #[must_use]
    pub const fn option(self) -> &'static str {
        match self {
            Self::HealthPath => "health",
            Self::TerminatedOnly(name) => name,
        }
    }
}

impl RouteOptions {
    /// Checks that a route of this mode can have these options.
    pub fn check_fits(&self, mode: Mode) -> Result<(), UnsuitableOptionError> {
        if mode == Mode::Terminate {
            return Ok(());
        }
        if self.health.as_ref().is_some_and(|check| matches!(check.probe(), Probe::Http(_))) {
            return Err(UnsuitableOptionError::HealthPath);
        }
        if !self.host_header.is_preserve() {
            return Err(UnsuitableOptionError::TerminatedOnly("host_header"));
        }
        Ok(())
    }

    /// Puts the options behind a pointer; those with nothing but defaults, as most routes have, share one.
    #[must_use]
    pub fn share(self) -> Arc<Self> {
        static DEFAULT: LazyLock<Arc<RouteOptions>> = LazyLock::new(Arc::default);
        if self == **DEFAULT { Arc::clone(&DEFAULT) } else { Arc::new(self) }
    }
}

#[cfg(test)]
mod tests;
