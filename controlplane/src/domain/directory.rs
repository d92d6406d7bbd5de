//! The interface through which the rules query nodes: connection status, applied versions and explanations of hosts.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use webgateway_proto::feed::{Explanation, ResourceName};
use webgateway_proto::model::Host;

/// A directory of the nodes that are or were connected.
#[async_trait]
pub(crate) trait NodeDirectory: fmt::Debug + Send + Sync {
    /// Lists every node, by name.
    fn nodes(&self) -> Vec<NodeStatus>;

    /// Waits until every connected node has acknowledged a version, for at most `limit`, and returns the progress.
    /// Returns early if a node rejects the resource, or if the number of nodes that acknowledged the version differs
    /// from `target.known`. A node that disconnects meanwhile does not count.
    async fn wait_acked(&self, target: &AckTarget, limit: Duration) -> AckProgress;

    /// Asks each connected node to explain how it serves a host. A node has `limit` to respond.
    async fn explain(&self, host: &Host, limit: Duration) -> Vec<NodeExplanation>;
}

/// The last known status of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeStatus {
    /// The name.
    pub name: String,
    /// The build.
    pub build: String,
    /// The address from which it connected, or `unix`.
    pub address: String,
    /// True while it is connected.
    pub connected: bool,
    /// The time at which it connected or disconnected.
    pub since: OffsetDateTime,
    /// The last version that it applied without rejects.
    pub version: u64,
    /// The resources that it rejected.
    pub rejects: Vec<RejectedResource>,
    /// The number of open connections that it last reported.
    pub connections: u64,
    /// The number of requests since its start that it last reported.
    pub requests: u64,
    /// True if it last reported that it is draining.
    pub draining: bool,
    /// The number of backends that it reported as down.
    pub backends_down: u64,
}

/// A resource that a node rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RejectedResource {
    /// The resource's name.
    pub resource: String,
    /// The reason that the node gave.
    pub reason: String,
}

/// A version whose acknowledgement by nodes is awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AckTarget {
    /// The version.
    pub version: u64,
    /// A resource in that version. If a node rejects it, the wait ends.
    pub resource: Option<ResourceName>,
    /// The number of acknowledgements that the waiting client knows of. If the number changes, the wait ends.
    pub known: Option<u64>,
    /// The minimum number of acknowledgements. With 0, a gateway without connected nodes has nothing to wait for.
    pub min_nodes: u64,
}

/// The progress of a version's rollout to the connected nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AckProgress {
    /// The number of nodes that have acknowledged it.
    pub acked: u64,
    /// The names of nodes that have not acknowledged it yet.
    pub pending: Vec<String>,
    /// The nodes that rejected the resource.
    pub rejects: Vec<NodeReject>,
}

/// A node that rejected a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeReject {
    /// The node's name.
    pub node: String,
    /// The reason that the node gave.
    pub reason: String,
}

/// A node's explanation of how it serves a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeExplanation {
    /// The node's name.
    pub node: String,
    /// The routes that it rejected.
    pub rejects: Vec<RejectedResource>,
    /// The explanation; `None` if the node did not respond in time.
    pub explanation: Option<Explanation>,
}

impl AckProgress {
    /// Returns the number of connected nodes.
    #[must_use]
    pub(crate) fn nodes(&self) -> u64 {
        self.acked + self.pending.len() as u64
    }
}
