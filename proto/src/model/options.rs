//! The options of a route: all its properties except host, mode and backends.
//!
//! This module is the only declaration of an option. Each one becomes a field of [`RouteOptions`] and of its patch,
//! which are flattened into the API, the manifest, the feed file and the audit log, stored as one JSON object, and sent
//! to nodes as one message.

mod declare;
mod key_ids;
mod networks;
mod patch;

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use thiserror::Error;

use self::declare::options;
pub use self::key_ids::{InvalidKeyIdsError, KeyIds, MAX_KEY_IDS};
pub use self::networks::{InvalidNetworkError, InvalidNetworksError, MAX_NETWORKS, Networks};
pub use self::patch::Patch;
use super::words::{Describe, words};
use super::{HealthCheck, Mode, Probe};

// The value after `=` is not the option's default, but an example that differs from it.
options! {
    /// The load balancing policy.
    #[serde(default)]
    balance: Balance = Balance::Random;
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
    /// The key ids of other owners who may have hosts below this route's host. Only the controlplane uses it.
    #[serde(default, skip_serializing_if = "KeyIds::is_empty")]
    subdomain_owners: KeyIds = KeyIds::sample(&["user2.pub"]);
}

/// The options that concern HTTP, so that only a terminated route can have them.
const TERMINATED_ONLY: &[&str] = &["host_header"];

words! {
    /// The load balancing policy of a route.
    pub enum Balance {
        /// Backends are used in turn.
        #[default]
        RoundRobin = "round_robin",
        /// A backend is chosen at random.
        Random = "random",
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
}

impl UnsuitableOptionError {
    /// Returns the name of the option.
    #[must_use]
    pub const fn option(self) -> &'static str {
        match self {
            Self::HealthPath => "health",
            Self::TerminatedOnly(name) | Self::Needs { option: name, .. } => name,
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
        unsuitable.map_or(Ok(()), |name| Err(UnsuitableOptionError::TerminatedOnly(name)))
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
