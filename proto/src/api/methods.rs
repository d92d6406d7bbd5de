//! The names of the API's methods, and the params and results of the route and system methods.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::DnsRecord;
use crate::model::{Mode, RouteOptions, RouteOptionsPatch};

/// The names of the API's methods.
pub mod method {
    use crate::audit::action;

    /// Creates a route.
    pub const ROUTES_CREATE: &str = action::ROUTES_CREATE;
    /// Lists the caller's routes; for the admin, all routes.
    pub const ROUTES_LIST: &str = "routes.list";
    /// Shows one route.
    pub const ROUTES_GET: &str = "routes.get";
    /// Changes one route.
    pub const ROUTES_UPDATE: &str = action::ROUTES_UPDATE;
    /// Deletes one route.
    pub const ROUTES_DELETE: &str = action::ROUTES_DELETE;
    /// Reports the state of a host on every node.
    pub const ROUTES_EXPLAIN: &str = "routes.explain";
    /// Returns the traffic of the caller's routes; for the admin, of all routes.
    pub const ROUTES_STATS: &str = "routes.stats";
    /// Returns the lines of one route's access log while somebody follows it.
    pub const ROUTES_LOGS: &str = "routes.logs";
    /// Suspends a user.
    pub const ADMIN_SUSPEND: &str = action::ADMIN_SUSPEND;
    /// Lifts a suspension.
    pub const ADMIN_UNSUSPEND: &str = action::ADMIN_UNSUSPEND;
    /// Lists the users.
    pub const ADMIN_USERS: &str = "admin.users";
    /// Sets a user's quotas.
    pub const ADMIN_QUOTA: &str = action::ADMIN_QUOTA;
    /// Lists the certificates of the caller's routes; for the admin, all certificates.
    pub const CERTIFICATES_LIST: &str = "certificates.list";
    /// Shows one certificate.
    pub const CERTIFICATES_GET: &str = "certificates.get";
    /// Renews one certificate now.
    pub const CERTIFICATES_RENEW: &str = action::CERTIFICATES_RENEW;
    /// Returns the root certificate of the `internal` CA.
    pub const CERTIFICATES_ROOT: &str = "certificates.root";
    /// Lists the caller's changes; for the admin, all changes.
    pub const AUDIT_LIST: &str = "audit.list";
    /// Returns the audit log with the signed requests, in pages.
    pub const AUDIT_EXPORT: &str = "audit.export";
    /// Lists the nodes.
    pub const NODES_LIST: &str = "nodes.list";
    /// Creates a join token for a new node.
    pub const NODES_INVITE: &str = action::NODES_INVITE;
    /// Removes a node and revokes its certificate.
    pub const NODES_REMOVE: &str = action::NODES_REMOVE;
    /// Switches the draining of a node on or off.
    pub const NODES_DRAIN: &str = action::NODES_DRAIN;
    /// Waits until the nodes have applied a version.
    pub const NODES_WAIT: &str = "nodes.wait";
    /// Returns the caller's key, permissions, quotas and suspension.
    pub const WHOAMI: &str = "whoami";
    /// Reports the health of the controlplane.
    pub const HEALTH: &str = "health";
    /// Returns the controlplane's version.
    pub const VERSION: &str = "version";
    /// Returns the OpenRPC document.
    pub const DISCOVER: &str = "rpc.discover";
}

/// Params of `routes.create`: exactly one of `fqdn` and `subdomain`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteCreate {
    /// A fully qualified host name of the caller's, such as `app.example.org`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fqdn: Option<String>,
    /// One label below the base domain, such as `myapp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subdomain: Option<String>,
    /// The backends, from 1 to 32, each as `[v6]:port` on the overlay.
    pub backends: Vec<String>,
    /// The TLS mode; `passthrough` requires `fqdn`.
    #[serde(default)]
    pub mode: Mode,
    /// The route options.
    #[serde(flatten)]
    pub options: RouteOptions,
    /// An id chosen by the client. A retry with the same id and content returns the same route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// If true, the call checks everything and returns the resulting route without a change. It counts towards the rate
    /// limit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// Params of `routes.get`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteRef {
    /// The route's id.
    pub id: String,
}

/// Params of `routes.delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteDelete {
    /// The route's id.
    pub id: String,
    /// The expected version of the route. If it has another one by now, the call fails with `stale_version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<u64>,
}

/// Params of `routes.update`. Absent fields remain unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteUpdate {
    /// The route's id.
    pub id: String,
    /// The new fully qualified host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fqdn: Option<String>,
    /// The new label below the base domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subdomain: Option<String>,
    /// The new backends, which replace all previous ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backends: Option<Vec<String>>,
    /// The new TLS mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The changed options; `null` resets an option to its default.
    #[serde(flatten)]
    pub options: RouteOptionsPatch,
    /// The expected version of the route. If it has another one by now, the call fails with `stale_version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<u64>,
    /// If true, the call checks everything and returns the resulting route without a change. It counts towards the rate
    /// limit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// A route as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteView {
    /// The route's id, a UUID.
    pub id: String,
    /// The key id of the route's owner.
    pub owner: String,
    /// The route's host name.
    pub host: String,
    /// The TLS mode.
    pub mode: Mode,
    /// The backends.
    pub backends: Vec<String>,
    /// The route options; those with their default value may be absent.
    #[serde(flatten)]
    pub options: RouteOptions,
    /// The state of the route.
    pub state: RouteState,
    /// The reason that the route is not served, if more is known than its state says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The DNS records that the owner has to create first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<DnsRecord>,
    /// The store's revision of its last change.
    pub version: u64,
    /// The time of its creation (RFC 3339).
    pub created_at: String,
    /// The time of its last change (RFC 3339).
    pub updated_at: String,
}

/// The state of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouteState {
    /// The route is served.
    Active,
    /// The route is not served until its certificate is issued.
    WaitingForCertificate,
    /// The route is not served because its owner is suspended.
    Suspended,
    /// The route is not served until its owner proves that the host is theirs.
    Unproven,
    /// The route is not served any more because another owner proved that the host is theirs.
    Displaced,
}

impl RouteState {
    /// Returns the state in plain words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::WaitingForCertificate => "waiting for certificate",
            Self::Suspended => "suspended",
            Self::Unproven => "waiting for proof",
            Self::Displaced => "displaced",
        }
    }
}

/// Result of `health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// `ok`, or a description of the problem.
    pub status: String,
    /// The number of connected nodes.
    pub nodes: u64,
}

/// Result of `version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuildInfo {
    /// The program's name.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// The base domain of every `subdomain`; absent if none is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_domain: Option<String>,
}
