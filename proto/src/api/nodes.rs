//! The params and results of the node methods.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Result of `nodes.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeList {
    /// The store's current revision.
    pub version: u64,
    /// The nodes that have joined or were ever connected, sorted by name.
    pub nodes: Vec<NodeView>,
}

/// The state of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeView {
    /// The name.
    pub node: String,
    /// The node's build; empty until it has connected.
    pub build: String,
    /// True if the node is connected.
    pub connected: bool,
    /// The time at which `connected` last changed (RFC 3339); empty if the node never connected.
    pub since: String,
    /// The version that the node last acknowledged.
    pub version: u64,
    /// The resources that the node rejected.
    pub rejects: Vec<Reject>,
    /// The node's address, or `unix`; empty until it has connected.
    #[serde(default)]
    pub address: String,
    /// The number of revisions that the node is behind the store.
    #[serde(default)]
    pub lag: u64,
    /// The number of open client connections, as last reported.
    #[serde(default)]
    pub connections: u64,
    /// The number of requests served since the node's start, as last reported.
    #[serde(default)]
    pub requests: u64,
    /// The number of backends that are down as seen from the node.
    #[serde(default)]
    pub backends_down: u64,
    /// True if the operator wants the node drained.
    #[serde(default)]
    pub drained: bool,
    /// True if the node drains, as last reported.
    #[serde(default)]
    pub draining: bool,
    /// True if the node was removed; its certificate is then refused.
    #[serde(default)]
    pub removed: bool,
    /// The end of the validity of its certificate (RFC 3339); absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<String>,
}

/// A resource that a node rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reject {
    /// The name.
    pub resource: String,
    /// The reason.
    pub reason: String,
}

/// Params of `nodes.invite`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeInvite {
    /// The name of the new node.
    pub node: String,
    /// The controlplane's address for the node, as `host:port`; that of `[feed] address` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The validity of the token, in seconds from 60 to 604800; one hour if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
}

/// Result of `nodes.invite`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeInvitation {
    /// The name of the new node.
    pub node: String,
    /// The join token, which can be used once: a secret that is not shown again.
    pub token: String,
    /// The controlplane's address for the node.
    pub address: String,
    /// The time at which the token expires (RFC 3339).
    pub expires_at: String,
}

impl std::fmt::Debug for NodeInvitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeInvitation").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Params of `nodes.remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeRef {
    /// The node's name.
    pub node: String,
}

/// Params of `nodes.drain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeDrain {
    /// The node's name.
    pub node: String,
    /// True to drain the node: it accepts no new clients and reports that it is not ready.
    pub drain: bool,
}

/// Result of `nodes.remove` and `nodes.drain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeState {
    /// The node's name.
    pub node: String,
    /// True if the operator wants the node drained.
    pub drained: bool,
    /// True if the node was removed.
    pub removed: bool,
    /// The store's current revision.
    pub version: u64,
}
