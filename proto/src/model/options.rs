//! The options of a route: all its properties except host, mode and backends.
//!
//! This module is the only declaration of an option. Each one becomes a field of [`RouteOptions`] and of its patch,
//! which are flattened into the API, the manifest, the feed file and the audit log, stored as one JSON object, and sent
//! to nodes as one message.

pub mod backend_tls;
mod declare;
mod networks;
mod patch;

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use thiserror::Error;

pub use self::backend_tls::{BackendTls, InvalidBackendTlsError, Trust};
use self::declare::options;
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
    /// The protocol that the backends of a terminated route speak.
    #[serde(default, skip_serializing_if = "BackendProtocol::is_http1")]
    backend_protocol: BackendProtocol = BackendProtocol::Https;
    /// TLS to the backends. It needs the `backend_protocol` `https` or `https-h2`.
    #[serde(default, skip_serializing_if = "BackendTls::is_default")]
    backend_tls: BackendTls = BackendTls::sample();
    /// The networks of clients that may use the route. If empty, all clients may.
    #[serde(default, skip_serializing_if = "Networks::is_empty")]
    allow: Networks = Networks::sample(&["203.0.113.0/24", "2001:db8::/32"]);
    /// The networks of clients that may not use the route. They take precedence over `allow`.
    #[serde(default, skip_serializing_if = "Networks::is_empty")]
    deny: Networks = Networks::sample(&["203.0.113.7/32"]);
}

/// The options that concern HTTP, so that only a terminated route can have them.
const TERMINATED_ONLY: &[&str] = &["backend_protocol", "backend_tls", "host_header"];

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

words! {
    /// The protocol between the gateway and the backends of a terminated route.
    pub enum BackendProtocol {
        /// HTTP/1.1.
        #[default]
        Http1 = "http1",
        /// HTTP/2 without TLS, with prior knowledge.
        H2c = "h2c",
        /// HTTP/1.1 over TLS.
        Https = "https",
        /// HTTP/2 over TLS.
        HttpsH2 = "https-h2",
    }
}

impl BackendProtocol {
    const fn is_http1(&self) -> bool {
        matches!(self, Self::Http1)
    }

    /// Returns whether connections to the backends are encrypted.
    #[must_use]
    pub const fn has_tls(self) -> bool {
        matches!(self, Self::Https | Self::HttpsH2)
    }

    /// Returns whether the backends speak HTTP/2.
    #[must_use]
    pub const fn is_http2(self) -> bool {
        matches!(self, Self::H2c | Self::HttpsH2)
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
            return self.check_needs();
        }
        if self.health.as_ref().is_some_and(|check| matches!(check.probe(), Probe::Http(_))) {
            return Err(UnsuitableOptionError::HealthPath);
        }
        let unsuitable = self.non_defaults().into_iter().find(|name| TERMINATED_ONLY.contains(name));
        unsuitable.map_or(Ok(()), |name| Err(UnsuitableOptionError::TerminatedOnly(name)))
    }

    /// Checks that no option of a terminated route lacks another one that it needs.
    fn check_needs(&self) -> Result<(), UnsuitableOptionError> {
        if !self.backend_tls.is_default() && !self.backend_protocol.has_tls() {
            let needs = "the `backend_protocol` https or https-h2";
            return Err(UnsuitableOptionError::Needs { option: "backend_tls", needs });
        }
        Ok(())
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
