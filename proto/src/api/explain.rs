//! Waiting for the nodes, and how a host looks from each of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RouteView;

/// Params of `nodes.wait`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitParams {
    /// The version that a mutation returned.
    pub version: u64,
    /// The id of a route of one's own in it: a node that cannot use it is told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// How many nodes are known to have acknowledged it: any other number is answered at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<u64>,
    /// Seconds to wait, 20 at most; without it the answer comes at once.
    #[serde(default)]
    pub timeout: u64,
}

/// Result of `nodes.wait`. All is done when `acked` is `nodes` and there is one at least.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitState {
    /// How many nodes are connected.
    pub nodes: u64,
    /// How many of them have acknowledged the version.
    pub acked: u64,
    /// Why the route cannot be used, for each node that cannot; the admin sees the nodes' names.
    pub rejects: Vec<String>,
}

/// Params of `routes.explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainParams {
    /// The host, such as `app.example.org`.
    pub host: String,
}

/// Result of `routes.explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteExplanation {
    /// The host.
    pub host: String,
    /// Its route, if there is one that exists for the caller.
    pub route: Option<RouteView>,
    /// The first thing that is wrong; none if all is well.
    pub problem: Option<Problem>,
    /// How the host looks from each connected node, just now.
    pub nodes: Vec<NodeExplanation>,
}

/// Something that is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// What.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How a host looks from one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeExplanation {
    /// The node's name.
    pub node: String,
    /// What it stands at; none if it did not answer.
    pub version: Option<u64>,
    /// What it would serve.
    pub certificate: Option<ServedCertificateView>,
    /// The route's backends, each tried just now.
    pub backends: Vec<BackendStatus>,
    /// The first thing that is wrong there.
    pub problem: Option<Problem>,
}

/// A certificate that a node serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServedCertificateView {
    /// Its id.
    pub id: String,
    /// When it expires (RFC 3339).
    pub not_after: String,
    /// SHA-256 of the leaf, in hex.
    pub fingerprint: String,
}

/// A backend, seen from a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackendStatus {
    /// Its address.
    pub backend: String,
    /// Whether it answers and is used.
    pub up: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
