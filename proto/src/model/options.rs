//! The options of a route: all its properties except host, mode and backends.
//!
//! This module is the only declaration of an option. Each one becomes a field of [`RouteOptions`] and of its patch,
//! which are flattened into the API, the manifest, the feed file and the audit log, stored as one JSON object, and sent
//! to nodes as one message.

mod auth;
pub mod backend_tls;
mod declare;
mod headers;
mod hsts;
mod key_ids;
mod maintenance;
mod max_body;
mod networks;
mod object;
mod objects;
mod patch;
mod paths;
mod proxy_protocol;
mod rate_limit;
mod retries;
mod sticky;
mod timeouts;
mod weights;

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

pub use self::auth::{
    Auth, BasicAuth, ForwardAuth, InvalidAuthError, InvalidBasicAuthError, InvalidForwardAuthError,
    InvalidPasswordHashError, MAX_HEADERS, MAX_USERS, PasswordHash, PasswordScheme,
};
pub use self::backend_tls::{BackendTls, InvalidBackendTlsError, Trust};
use self::declare::options;
pub use self::headers::{
    HeaderChanges, HeaderField, HeaderRules, InvalidHeaderError, MAX_HEADER_BYTES, MAX_HEADER_CHANGES,
};
pub use self::hsts::{Hsts, InvalidHstsError};
pub use self::key_ids::{InvalidKeyIdsError, KeyIds, MAX_KEY_IDS};
pub use self::maintenance::{InvalidMaintenanceError, MAX_MAINTENANCE_TEXT, Maintenance};
pub use self::max_body::{InvalidMaxBodyError, MaxBody};
pub use self::networks::{InvalidNetworkError, InvalidNetworksError, MAX_NETWORKS, Networks};
pub use self::patch::Patch;
pub use self::paths::{
    InvalidPathRuleError, InvalidPathRulesError, InvalidRedirectError, InvalidRulePathError, MAX_PATH_RULES,
    MAX_RULE_BACKENDS, MAX_RULE_PATH, MAX_TARGET, PathAction, PathPattern, PathRule, PathRules, Redirect,
    Rewrite, RulePath,
};
pub use self::proxy_protocol::ProxyProtocol;
pub use self::rate_limit::{InvalidRateLimitError, RateLimit, RequestRate};
pub use self::retries::{Attempts, InvalidRetriesError, MAX_ATTEMPTS, Retries, RetryConditions, RetryOn};
pub use self::sticky::{CookieName, CookieTtl, InvalidCookieError, Sticky};
pub use self::timeouts::{InvalidTimeoutError, MAX_TIMEOUT, MIN_TIMEOUT, Timeout, Timeouts};
pub use self::weights::{InvalidWeightsError, MAX_WEIGHT, Weights};
use super::words::{Describe, words};
use super::{Backend, Backends, HealthCheck, InvalidBackendError, Mode, Prefixes, Probe};

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
    /// The PROXY protocol header (HAProxy's `proxy-protocol.txt`) that every connection to a backend begins with: it
    /// names the client's address and port, and the address that the client connected to. Version 2 also names the
    /// server name of the handshake. Health checks announce no client (`LOCAL`, `UNKNOWN`). Backends must expect it.
    #[serde(default, skip_serializing_if = "ProxyProtocol::is_off")]
    proxy_protocol: ProxyProtocol = ProxyProtocol::V2;
    /// The protocol that the backends of a terminated route speak.
    #[serde(default, skip_serializing_if = "BackendProtocol::is_http1")]
    backend_protocol: BackendProtocol = BackendProtocol::Https;
    /// TLS to the backends. It needs the `backend_protocol` `https` or `https-h2`.
    #[serde(default, skip_serializing_if = "BackendTls::is_default")]
    backend_tls: BackendTls = BackendTls::sample();
    /// Rules for paths: other backends, a change of the path, or a redirect. An exact path takes precedence over a
    /// prefix, and a longer prefix over a shorter one, whatever their order. Requests without a rule go to the route's
    /// backends. At most 64 rules with 128 different backends.
    #[serde(default, skip_serializing_if = "PathRules::is_empty")]
    paths: PathRules = PathRules::sample();
    /// Changes of header fields in requests to backends and in responses to clients. In each direction, fields are
    /// removed first, then set, then added; at most 64 changes and 8 KiB.
    #[serde(default, skip_serializing_if = "HeaderRules::is_empty")]
    headers: HeaderRules = HeaderRules::sample();
    /// HTTP Strict Transport Security (RFC 6797): browsers use the host with https only. Replaces the backend's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hsts: Option<Hsts> = Hsts::new(Duration::from_secs(365 * 86_400), true, false).ok();
    /// The networks of clients that may use the route. If empty, all clients may.
    #[serde(default, skip_serializing_if = "Networks::is_empty")]
    allow: Networks = Networks::sample(&["203.0.113.0/24", "2001:db8::/32"]);
    /// The networks of clients that may not use the route. They take precedence over `allow`.
    #[serde(default, skip_serializing_if = "Networks::is_empty")]
    deny: Networks = Networks::sample(&["203.0.113.7/32"]);
    /// The maintenance mode: clients get 503 with `Retry-After` and a text, except for those in some networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    maintenance: Option<Maintenance> =
        Maintenance::new(Some("We are back at 9."), Some(600), Networks::sample(&["203.0.113.0/24"])).ok();
    /// Limits for each client network (an IPv4 /24 or an IPv6 /56): requests per second with a burst, and concurrent
    /// requests, or connections of a passthrough route. A client above a limit gets 429 with `Retry-After`. Each node
    /// counts for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate_limit: Option<RateLimit> = RateLimit::new(Some(10.0), Some(20), Some(50)).ok();
    /// The authentication of clients by the gateway: `basic`, with user names and password hashes, or `forward`, with a
    /// service on the overlay that decides about each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auth: Option<Auth> = Auth::sample();
    /// The key ids of other owners who may have hosts below this route's host. Only the controlplane uses it.
    #[serde(default, skip_serializing_if = "KeyIds::is_empty")]
    subdomain_owners: KeyIds = KeyIds::sample(&["user2.pub"]);
}

/// The options that concern HTTP, so that only a terminated route can have them.
const TERMINATED_ONLY: &[&str] = &[
    "host_header",
    "backend_protocol",
    "backend_tls",
    "paths",
    "headers",
    "hsts",
    "maintenance",
    "auth",
    "sticky",
    "retries",
    "max_body",
];

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
    /// A passthrough route has a limit on requests.
    #[error(
        "the gateway cannot see the requests of a passthrough route: give `connections` of `rate_limit` without `requests`"
    )]
    RequestRate,
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
            Self::RequestRate => "rate_limit",
            Self::TerminatedOnly(name) | Self::Needs { option: name, .. } => name,
            Self::UnknownWeight(_) | Self::AllDrained => "weights",
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
        if self.rate_limit.is_some_and(|limit| limit.requests().is_some()) {
            return Err(UnsuitableOptionError::RequestRate);
        }
        let unsuitable = self.non_defaults().into_iter().find(|name| TERMINATED_ONLY.contains(name));
        let unsuitable = unsuitable.or_else(|| self.timeouts.http_only());
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

    /// Checks that a route with these backends may have these weights.
    pub fn check_weights(&self, backends: &Backends) -> Result<(), UnsuitableOptionError> {
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

    /// Iterates over the addresses that the options connect to, besides the route's backends, each with the name of its
    /// option.
    pub fn backends(&self) -> impl Iterator<Item = (&'static str, Backend)> {
        let of_paths = self.paths.backends().iter().map(|backend| ("paths", *backend));
        let of_auth = self.auth.iter().filter_map(|auth| match auth {
            Auth::Basic(_) => None,
            Auth::Forward(forward) => Some(("auth", forward.backend())),
        });
        of_paths.chain(of_auth)
    }

    /// Checks that all [`backends`](Self::backends) are inside `prefixes`. The error has the name of the option.
    pub fn check_backends(&self, prefixes: &Prefixes) -> Result<(), (&'static str, InvalidBackendError)> {
        self.backends().try_for_each(|(option, backend)| {
            prefixes.admit(backend).map(drop).map_err(|error| (option, error))
        })
    }

    /// Returns the JSON form for the audit log, in which fingerprints stand for password hashes.
    #[must_use]
    pub fn to_audit(&self) -> Value {
        // Options are always representable as JSON: all keys of their maps are strings.
        let mut options = serde_json::to_value(self).unwrap_or_default();
        if let (Some(auth), Some(value)) = (&self.auth, options.get_mut("auth")) {
            auth.redact(value);
        }
        options
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
