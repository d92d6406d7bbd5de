//! The nodes as the rules see them: which are connected, what each holds, how a host looks from each.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use webgateway_proto::feed::{Explanation, ResourceName};
use webgateway_proto::model::Host;

/// The nodes that are, or were, connected.
#[async_trait]
pub(crate) trait NodeDirectory: fmt::Debug + Send + Sync {
    /// Lists every node, by name.
    fn nodes(&self) -> Vec<NodeStatus>;

    /// Waits until every connected node has acknowledged a version, at most for `limit`, and returns how far it has
    /// come. Returns early when a node rejects the resource, or another number of nodes than is known acknowledged it.
    /// A node that disconnects meanwhile does not count.
    async fn wait_acked(&self, target: &AckTarget, limit: Duration) -> AckProgress;

    /// Asks each connected node how a host looks from it; a node has `limit` to answer.
    async fn explain(&self, host: &Host, limit: Duration) -> Vec<NodeAnswer>;
}

/// One node, as it was last heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeStatus {
    /// The name.
    pub name: String,
    /// The build.
    pub build: String,
    /// The address it connected from, or `unix`.
    pub address: String,
    /// True while it is connected.
    pub connected: bool,
    /// The time it connected or disconnected.
    pub since: OffsetDateTime,
    /// The last version it holds whole.
    pub version: u64,
    /// The resources it cannot use.
    pub rejects: Vec<RejectedResource>,
    /// Its open connections, as it last reported.
    pub connections: u64,
    /// The requests it has answered since its start, as it last reported.
    pub requests: u64,
    /// True if it drains, as it last reported.
    pub draining: bool,
    /// The number of backends that are down, as it sees them.
    pub backends_down: u64,
}

/// A resource that a node cannot use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RejectedResource {
    /// The resource's name.
    pub resource: String,
    /// The reason, in the node's words.
    pub reason: String,
}

/// A version that nodes are to acknowledge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AckTarget {
    /// The version.
    pub version: u64,
    /// A resource in it: a node that rejects it ends the wait.
    pub resource: Option<ResourceName>,
    /// The number of nodes known to have acknowledged it: any other number ends the wait.
    pub known: Option<u64>,
    /// The fewest connected nodes that count as all of them; 0 where a gateway without nodes has nothing to wait for.
    pub min_nodes: u64,
}

/// How far a version has come among the connected nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AckProgress {
    /// The number of nodes that have acknowledged it.
    pub acked: u64,
    /// The names of those that have not yet.
    pub pending: Vec<String>,
    /// The nodes that reject the resource.
    pub rejects: Vec<NodeReject>,
}

/// A node that cannot use a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeReject {
    /// The node's name.
    pub node: String,
    /// The reason, in the node's words.
    pub reason: String,
}

/// A node's answer to how a host looks from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeAnswer {
    /// The node's name.
    pub node: String,
    /// The routes that it cannot use.
    pub rejects: Vec<RejectedResource>,
    /// The answer; `None` if it did not come in time.
    pub answer: Option<Explanation>,
}

impl AckProgress {
    /// Returns the number of connected nodes.
    #[must_use]
    pub(crate) fn nodes(&self) -> u64 {
        self.acked + self.pending.len() as u64
    }
}
