//! Nodes as the API shows them, and what may be done to them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Result of `nodes.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeList {
    /// The store's revision now.
    pub version: u64,
    /// The nodes that are connected, were, or joined; by name.
    pub nodes: Vec<NodeView>,
}

/// A node as the API shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeView {
    /// Its name.
    pub node: String,
    /// Its build; empty until it has connected.
    pub build: String,
    /// Whether it is connected.
    pub connected: bool,
    /// When that was last otherwise (RFC 3339); empty if it never was.
    pub since: String,
    /// The version it last acknowledged.
    pub version: u64,
    /// What it could not use.
    pub rejects: Vec<Reject>,
    /// Where it comes from: an address, or `unix`; empty until it has connected.
    #[serde(default)]
    pub address: String,
    /// How many revisions it is behind the store.
    #[serde(default)]
    pub lag: u64,
    /// Its open connections, as it last said.
    #[serde(default)]
    pub connections: u64,
    /// The requests it has answered since its start, as it last said.
    #[serde(default)]
    pub requests: u64,
    /// How many backends are out, as it sees them.
    #[serde(default)]
    pub backends_down: u64,
    /// Whether it is to be drained.
    #[serde(default)]
    pub drained: bool,
    /// Whether it drains, as it last said.
    #[serde(default)]
    pub draining: bool,
    /// Whether it was removed: its certificate is refused.
    #[serde(default)]
    pub removed: bool,
    /// When its certificate ends (RFC 3339); absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<String>,
}

/// A resource that a node could not use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reject {
    /// Its name.
    pub resource: String,
    /// Why.
    pub reason: String,
}

/// Params of `nodes.invite`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeInvite {
    /// What the node will be called.
    pub node: String,
    /// Where it finds the controlplane, `host:port`; the one of `[feed] address` if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// How long the token is good, in seconds: 60 to 604800; an hour if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
}

/// Result of `nodes.invite`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeInvitation {
    /// What the node will be called.
    pub node: String,
    /// What it joins with, once: a secret that is not shown again.
    pub token: String,
    /// Where it will find the controlplane.
    pub address: String,
    /// Until when the token is good (RFC 3339).
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
    /// Whether it is to be drained: it takes no new visitors and says that it is not ready.
    pub drain: bool,
}

/// Result of `nodes.remove` and `nodes.drain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeState {
    /// The node's name.
    pub node: String,
    /// Whether it is to be drained.
    pub drained: bool,
    /// Whether it was removed.
    pub removed: bool,
    /// The store's revision now.
    pub version: u64,
}
