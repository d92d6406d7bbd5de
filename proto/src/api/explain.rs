//! Waiting for nodes to apply a version, and the state of a host on each node.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RouteView;

/// Params of `nodes.wait`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitParams {
    /// The version that the mutation returned.
    pub version: u64,
    /// The id of the caller's changed route. Nodes that reject it are reported in `rejects`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The number of acknowledgements that the caller knows of. If the current number differs, the call returns at
    /// once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<u64>,
    /// The maximum time to wait, in seconds, at most 20. With 0 the call returns at once.
    #[serde(default)]
    pub timeout: u64,
}

/// Result of `nodes.wait`. The change is in use everywhere when `acked` equals `nodes` and is not 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitState {
    /// The number of connected nodes.
    pub nodes: u64,
    /// The number of connected nodes that have acknowledged the version.
    pub acked: u64,
    /// The reason of each node that rejects the route. For the admin, the nodes' names are included.
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
    /// The host name.
    pub host: String,
    /// The host's route; absent if there is none or the caller may not see it.
    pub route: Option<RouteView>,
    /// The first problem found; null if there is none.
    pub problem: Option<Problem>,
    /// The current state of the host on each connected node.
    pub nodes: Vec<NodeExplanation>,
}

/// A problem and its remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The problem, in one sentence.
    pub message: String,
    /// The next step for the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The state of a host on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeExplanation {
    /// The node's name.
    pub node: String,
    /// The version that the node has applied; null if the node did not reply.
    pub version: Option<u64>,
    /// The certificate that the node serves for the host.
    pub certificate: Option<ServedCertificateView>,
    /// The route's backends, each probed for this call.
    pub backends: Vec<BackendStatus>,
    /// The first problem found on this node.
    pub problem: Option<Problem>,
}

/// A certificate as a node serves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServedCertificateView {
    /// The certificate's id.
    pub id: String,
    /// The end of its validity (RFC 3339).
    pub not_after: String,
    /// The SHA-256 hash of the leaf certificate's DER, in hex.
    pub fingerprint: String,
}

/// The status of a backend on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackendStatus {
    /// The backend's address.
    pub backend: String,
    /// True if the backend is reachable and in use.
    pub up: bool,
    /// The reason that the backend is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
