//! The methods' names, params and results.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::DnsRecord;
use crate::model::{Mode, RouteOptions, RouteOptionsPatch};

/// The methods' names.
pub mod method {
    use crate::audit::action;

    /// Creates a route.
    pub const ROUTES_CREATE: &str = action::ROUTES_CREATE;
    /// Lists the caller's routes, the admin's list has all.
    pub const ROUTES_LIST: &str = "routes.list";
    /// Shows one route.
    pub const ROUTES_GET: &str = "routes.get";
    /// Changes one route.
    pub const ROUTES_UPDATE: &str = action::ROUTES_UPDATE;
    /// Deletes one route.
    pub const ROUTES_DELETE: &str = action::ROUTES_DELETE;
    /// Tells how a host looks from every node.
    pub const ROUTES_EXPLAIN: &str = "routes.explain";
    /// Suspends a user.
    pub const ADMIN_SUSPEND: &str = action::ADMIN_SUSPEND;
    /// Lifts a suspension.
    pub const ADMIN_UNSUSPEND: &str = action::ADMIN_UNSUSPEND;
    /// Lists the users.
    pub const ADMIN_USERS: &str = "admin.users";
    /// Sets a user's quotas.
    pub const ADMIN_QUOTA: &str = action::ADMIN_QUOTA;
    /// Lists the certificates of the caller's routes, the admin's list has all.
    pub const CERTIFICATES_LIST: &str = "certificates.list";
    /// Shows one certificate.
    pub const CERTIFICATES_GET: &str = "certificates.get";
    /// Renews one certificate now.
    pub const CERTIFICATES_RENEW: &str = action::CERTIFICATES_RENEW;
    /// The root of the `internal` CA.
    pub const CERTIFICATES_ROOT: &str = "certificates.root";
    /// Lists what was changed: one's own changes, the admin's list has all.
    pub const AUDIT_LIST: &str = "audit.list";
    /// The audit with the signed requests, page by page.
    pub const AUDIT_EXPORT: &str = "audit.export";
    /// Lists the nodes.
    pub const NODES_LIST: &str = "nodes.list";
    /// Makes a join token for a new node.
    pub const NODES_INVITE: &str = action::NODES_INVITE;
    /// Revokes a node.
    pub const NODES_REMOVE: &str = action::NODES_REMOVE;
    /// Has a node drained, or not any more.
    pub const NODES_DRAIN: &str = action::NODES_DRAIN;
    /// Waits until the nodes hold a version.
    pub const NODES_WAIT: &str = "nodes.wait";
    /// Says whether the controlplane works.
    pub const HEALTH: &str = "health";
    /// Says which build it is.
    pub const VERSION: &str = "version";
    /// The OpenRPC document.
    pub const DISCOVER: &str = "rpc.discover";
}

/// Params of `routes.create`: exactly one of `fqdn` and `subdomain`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteCreate {
    /// A fully qualified host name of one's own, such as `app.example.org`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fqdn: Option<String>,
    /// One label below the base domain, such as `myapp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subdomain: Option<String>,
    /// 1 to 32 backends, each `[v6]:port` on the overlay.
    pub backends: Vec<String>,
    /// `passthrough` needs `fqdn`.
    #[serde(default)]
    pub mode: Mode,
    /// Everything else a route says.
    #[serde(flatten)]
    pub options: RouteOptions,
    /// An id made by the client: a retry with the same id and content returns the same route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// Checks everything and shows the route as it would be, and does nothing; it counts among the changes of the minute.
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
    /// Refuses the deletion if the route is at another version by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<u64>,
}

/// Params of `routes.update`: what is left out stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteUpdate {
    /// The route's id.
    pub id: String,
    /// Another fully qualified host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fqdn: Option<String>,
    /// Another label below the base domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subdomain: Option<String>,
    /// All its backends from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backends: Option<Vec<String>>,
    /// The other mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Changes of options; `null` gives one its default again.
    #[serde(flatten)]
    pub options: RouteOptionsPatch,
    /// Refuses the update if the route is at another version by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<u64>,
    /// Checks everything and shows the route as it would be, and does nothing; it counts among the changes of the minute.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// A route as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteView {
    /// Its id, a UUID.
    pub id: String,
    /// The key id of its owner.
    pub owner: String,
    /// Its host.
    pub host: String,
    /// How its TLS is treated.
    pub mode: Mode,
    /// Where it goes.
    pub backends: Vec<String>,
    /// Everything else it says; what has its default may be left out.
    #[serde(flatten)]
    pub options: RouteOptions,
    /// Whether it is served.
    pub state: RouteState,
    /// Why it is not, where more is known than its state says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// DNS records that its owner has to create first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<DnsRecord>,
    /// The store's revision at its last change.
    pub version: u64,
    /// When it was created (RFC 3339).
    pub created_at: String,
    /// When it last changed (RFC 3339).
    pub updated_at: String,
}

/// Whether a route is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouteState {
    /// It is on the feed.
    Active,
    /// It waits for its certificate.
    WaitingForCertificate,
    /// Its owner is suspended.
    Suspended,
}

impl RouteState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::WaitingForCertificate => "waiting for certificate",
            Self::Suspended => "suspended",
        }
    }
}

/// Result of `health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// `ok`, or what is wrong.
    pub status: String,
    /// How many nodes are connected.
    pub nodes: u64,
}

/// Result of `version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuildInfo {
    /// The program's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The domain below which every `subdomain` is, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_domain: Option<String>,
}
