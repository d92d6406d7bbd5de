//! The options of a route: all its properties except host, mode and backends.
//!
//! This module is the only declaration of an option. Each one becomes a field of [`RouteOptions`] and of its patch,
//! which are flattened into the API, the manifest, the feed file and the audit log, stored as one JSON object, and sent
//! to nodes as one message.

mod declare;
mod max_body;
mod networks;
mod objects;
mod patch;
mod retries;
mod sticky;
mod timeouts;
mod weights;

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use thiserror::Error;

use self::declare::options;
pub use self::max_body::{InvalidMaxBodyError, MaxBody};
pub use self::networks::{InvalidNetworkError, InvalidNetworksError, MAX_NETWORKS, Networks};
pub use self::patch::Patch;
pub use self::retries::{Attempts, InvalidRetriesError, MAX_ATTEMPTS, Retries, RetryConditions, RetryOn};
pub use self::sticky::{CookieName, CookieTtl, InvalidCookieError, Sticky};
pub use self::timeouts::{InvalidTimeoutError, MAX_TIMEOUT, MIN_TIMEOUT, Timeout, Timeouts};
pub use self::weights::{InvalidWeightsError, MAX_WEIGHT, Weights};
use super::words::{Describe, words};
use super::{Backend, Backends, HealthCheck, Mode, Probe};

// The value after `=` is not the option's default, but an example that differs from it.
options! {
    /// The load balancing policy.
    #[serde(default)]
    balance: Balance = Balance::Random;
    /// The weights of backends, from 0 to 256; a backend that is not listed has the weight 1. Every balancing policy
    /// respects them. A backend of weight 0 is drained: it gets no new clients, even if all others are unhealthy, but
    /// keeps those that have its cookie (`sticky`). Weights of backends that an update removes are dropped.
    #[serde(default, skip_serializing_if = "Weights::is_empty")]
    weights: Weights = Weights::sample(&[("[400::1]:80", 3)]);
    /// Keeps each client at one backend by a cookie, whose value does not reveal the backend's address. The cookie is
    /// not forwarded to backends. A client whose backend is unhealthy or removed gets another one, and a new cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sticky: Option<Sticky> = Some(Sticky::default());
    /// The time limits of requests and connections, in seconds from 0.01 to 86400; the operator may set a lower maximum.
    /// A limit that is not given is that of the node.
    #[serde(default, skip_serializing_if = "Timeouts::is_empty")]
    timeouts: Timeouts = Timeouts::sample();
    /// The attempts to forward a request. Without this option, a second backend is tried if the first cannot be
    /// connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retries: Option<Retries> = Retries::sample();
    /// The maximum size of a request's body, in bytes from 1 to 1 TiB; the operator may set a lower maximum. A larger
    /// body is refused with 413: before anything is forwarded if its length is announced, otherwise as soon as it
    /// exceeds the size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_body: Option<MaxBody> = MaxBody::try_from(10 * 1024 * 1024).ok();
    /// Active health checks of the backends. Without them, only failures of requests mark a backend unhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    health: Option<HealthCheck> =
        HealthCheck::new(Some("/healthz"), HealthCheck::INTERVAL, HealthCheck::RISE, HealthCheck::FALL).ok();
    /// The `Host` header of requests to the backends of a terminated route. `X-Forwarded-Host` always has the client's
    /// host.
    #[serde(default, skip_serializing_if = "HostHeader::is_preserve")]
    host_header: HostHeader = HostHeader::Backend;
    /// The networks of clients that may use the route. If empty, all clients may.
    #[serde(default, skip_serializing_if = "Networks::is_empty")]
    allow: Networks = Networks::sample(&["203.0.113.0/24", "2001:db8::/32"]);
    /// The networks of clients that may not use the route. They take precedence over `allow`.
    #[serde(default, skip_serializing_if = "Networks::is_empty")]
    deny: Networks = Networks::sample(&["203.0.113.7/32"]);
}

/// The options that concern HTTP, so that only a terminated route can have them.
const TERMINATED_ONLY: &[&str] = &["host_header", "sticky", "retries", "max_body"];

words! {
    /// The load balancing policy of a route.
    pub enum Balance {
        /// Backends are used in turn.
        #[default]
        RoundRobin = "round_robin",
        /// A backend is chosen at random.
        Random = "random",
        /// The backend with the fewest open requests and connections on the node is used.
        LeastConnections = "least_connections",
        /// The clients of one network (/24, or /56 of IPv6) use the same backend, on every node.
        ClientHash = "client_hash",
    }
}

words! {
    /// The `Host` header of a request to a backend.
    pub enum HostHeader {
        /// The host of the client's request.
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

/// An option that the mode of a route does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UnsuitableOptionError {
    /// A passthrough route has a health check with a path.
    #[error(
        "a passthrough route's backends terminate TLS themselves: use a health check without a path, which connects by TCP"
    )]
    HealthPath,
    /// A passthrough route has an option that concerns HTTP.
    #[error("`{0}` concerns HTTP, which the gateway cannot see on a passthrough route: remove the option")]
    TerminatedOnly(&'static str),
    /// An option has no meaning without another one.
    #[error("`{option}` needs {needs}")]
    Needs {
        /// The name of the option.
        option: &'static str,
        /// The missing option, with its value.
        needs: &'static str,
    },
    /// A weight is given for something that is not a backend of the route.
    #[error("`weights` names {0}, which is not a backend of the route")]
    UnknownWeight(Backend),
    /// Every backend has the weight 0.
    #[error("`weights` is 0 for every backend: at least one has to serve requests")]
    AllDrained,
}

impl UnsuitableOptionError {
    /// Returns the name of the option.
    #[must_use]
    pub const fn option(self) -> &'static str {
        match self {
            Self::HealthPath => "health",
            Self::TerminatedOnly(name) | Self::Needs { option: name, .. } => name,
            Self::UnknownWeight(_) | Self::AllDrained => "weights",
        }
    }
}

impl RouteOptions {
    /// Checks that a route of this mode may have these options.
    pub fn check_fits(&self, mode: Mode) -> Result<(), UnsuitableOptionError> {
        if mode == Mode::Terminate {
            return Ok(());
        }
        if self.health.as_ref().is_some_and(|check| matches!(check.probe(), Probe::Http(_))) {
            return Err(UnsuitableOptionError::HealthPath);
        }
        let unsuitable = self.non_defaults().into_iter().find(|name| TERMINATED_ONLY.contains(name));
        let unsuitable = unsuitable.or_else(|| self.timeouts.http_only());
        unsuitable.map_or(Ok(()), |name| Err(UnsuitableOptionError::TerminatedOnly(name)))
    }

    /// Checks that a route with these backends may have these options.
    pub fn check_backends(&self, backends: &Backends) -> Result<(), UnsuitableOptionError> {
        let backends = backends.as_slice();
        if let Some(other) = self.weights.first_outside(backends) {
            return Err(UnsuitableOptionError::UnknownWeight(other));
        }
        let is_drained = |backend: &Backend| self.weights.of(*backend) == 0;
        if backends.iter().all(is_drained) { Err(UnsuitableOptionError::AllDrained) } else { Ok(()) }
    }

    /// Returns whether clients with this address may use the route.
    #[must_use]
    pub fn admits(&self, client: IpAddr) -> bool {
        !self.deny.contain(client) && (self.allow.is_empty() || self.allow.contain(client))
    }

    /// Wraps the options in an `Arc`. All default options share one, because most routes have them.
    #[must_use]
    pub fn share(self) -> Arc<Self> {
        static DEFAULT: LazyLock<Arc<RouteOptions>> = LazyLock::new(Arc::default);
        if self == **DEFAULT { Arc::clone(&DEFAULT) } else { Arc::new(self) }
    }
}

#[cfg(test)]
mod tests;
