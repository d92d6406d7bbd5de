//! The list of nodes that are or were connected, with each node's progress, rejects and reported status.

mod queries;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use prometheus_client::metrics::gauge::Gauge;
use thiserror::Error;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use webgateway_proto::feed::BackendHealth;
use webgateway_proto::model::{Backend, Host};

use super::explain::ExplainClient;
use super::peer::Peer;
use super::session::Session;
use crate::clock::Clock;
use crate::domain::{AckProgress, AckTarget, NodeDirectory, NodeExplanation, NodeStatus, RejectedResource};

/// The maximum number of disconnected nodes that are remembered.
const MAX_DISCONNECTED: usize = 1000;
/// The maximum number of backends that are remembered as down for one node.
const MAX_DOWN_BACKENDS: usize = 10_000;
/// The maximum length of a node's name and build, in bytes.
const MAX_TEXT_LEN: usize = 253;

/// The last known state of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
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
    /// The last version that it acknowledged, with or without rejects.
    pub acked: u64,
    /// The last version that it acknowledged without rejects.
    pub held: u64,
    /// The reasons of its rejects, by resource name.
    pub rejects: BTreeMap<String, String>,
    /// The number of open connections that it last reported.
    pub connections: u64,
    /// The number of requests that it last reported.
    pub requests: u64,
    /// True if it last reported that it is draining.
    pub draining: bool,
    /// The backends that it reported as down, and the reasons.
    pub down: BTreeMap<Backend, String>,
}

/// A node's Hello is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum InvalidHelloError {
    /// The name or the build is empty, too long, or not printable.
    #[error("a node's name and build must have 1 to {MAX_TEXT_LEN} bytes without control characters")]
    Text,
}

/// The list of nodes. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Nodes {
    state: Arc<Mutex<NodesState>>,
    changed: Arc<watch::Sender<()>>,
    clock: Clock,
    connected: Gauge,
}

#[derive(Debug, Default)]
struct NodesState {
    streams: u64,
    nodes: BTreeMap<String, NodeEntry>,
}

#[derive(Debug)]
struct NodeEntry {
    node: Node,
    stream: u64,
    replaced: CancellationToken,
    explain_client: Option<ExplainClient>,
}

/// A node's connection. The node is listed as connected until this is dropped.
#[derive(Debug)]
pub(crate) struct NodeConnection {
    nodes: Nodes,
    name: String,
    stream: u64,
    replaced: CancellationToken,
}

impl Nodes {
    /// Creates an empty list. `connected` is set to the number of connected nodes.
    #[must_use]
    pub(crate) fn new(clock: Clock, connected: Gauge) -> Self {
        Self { state: Arc::default(), changed: Arc::default(), clock, connected }
    }

    /// Lists every node, by name.
    #[must_use]
    pub(crate) fn list(&self) -> Vec<Node> {
        self.state().nodes.values().map(|entry| entry.node.clone()).collect()
    }

    /// Adds a node to the list. An older stream of the same name is told to end.
    pub(crate) fn connect(
        &self,
        name: &str,
        build: &str,
        peer: &Peer,
    ) -> Result<NodeConnection, InvalidHelloError> {
        let printable = |text: &str| text.len() <= MAX_TEXT_LEN && !text.chars().any(char::is_control);
        if name.is_empty() || !printable(name) || !printable(build) {
            return Err(InvalidHelloError::Text);
        }
        let mut state = self.state();
        state.streams += 1;
        let (stream, replaced) = (state.streams, CancellationToken::new());
        let old = state.nodes.remove(name);
        if let Some(old) = old.as_ref().filter(|old| old.node.connected) {
            warn!(node = name, "another node connected with the same name, closing the older stream");
            old.replaced.cancel();
        }
        let node = Node {
            name: name.to_owned(),
            build: build.to_owned(),
            address: peer.to_string(),
            connected: true,
            since: self.clock.now(),
            acked: 0,
            held: 0,
            rejects: BTreeMap::new(),
            connections: 0,
            requests: 0,
            draining: false,
            down: BTreeMap::new(),
        };
        state.nodes.insert(
            name.to_owned(),
            NodeEntry { node, stream, replaced: replaced.clone(), explain_client: None },
        );
        state.forget_oldest();
        self.connected.set(state.connected());
        self.changed.send_replace(());
        info!(node = name, build, from = %peer, "node connected");
        Ok(NodeConnection { nodes: self.clone(), name: name.to_owned(), stream, replaced })
    }

    fn state(&self) -> MutexGuard<'_, NodesState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl NodeDirectory for Nodes {
    fn nodes(&self) -> Vec<NodeStatus> {
        self.list().into_iter().map(status).collect()
    }

    async fn wait_acked(&self, target: &AckTarget, limit: Duration) -> AckProgress {
        Self::wait_acked(self, target, limit).await
    }

    async fn explain(&self, host: &Host, limit: Duration) -> Vec<NodeExplanation> {
        self.explain_all(host, limit).await
    }
}

fn status(node: Node) -> NodeStatus {
    let reject = |(resource, reason)| RejectedResource { resource, reason };
    NodeStatus {
        name: node.name,
        build: node.build,
        address: node.address,
        connected: node.connected,
        since: node.since,
        version: node.held,
        rejects: node.rejects.into_iter().map(reject).collect(),
        connections: node.connections,
        requests: node.requests,
        draining: node.draining,
        backends_down: node.down.len() as u64,
    }
}

impl NodesState {
    fn connected(&self) -> i64 {
        self.nodes.values().map(|entry| i64::from(entry.node.connected)).sum()
    }

    fn forget_oldest(&mut self) {
        let disconnected = self.nodes.values().filter(|entry| !entry.node.connected);
        if disconnected.clone().count() > MAX_DISCONNECTED
            && let Some(oldest) =
                disconnected.min_by_key(|entry| entry.node.since).map(|entry| entry.node.name.clone())
        {
            self.nodes.remove(&oldest);
        }
    }
}

impl NodeConnection {
    /// Returns the node's name.
    #[must_use]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until a newer stream of the same name has connected.
    pub(crate) async fn replaced(&self) {
        self.replaced.cancelled().await;
    }

    /// Copies the progress and the rejects of the session.
    pub(crate) fn set_progress(&self, session: &Session) {
        self.update(|node| {
            (node.acked, node.held) = (session.acked(), session.held());
            node.rejects.clone_from(session.rejects());
        });
    }

    /// Records the status that the node reported.
    pub(crate) fn set_status(&self, connections: u64, requests: u64, draining: bool) {
        self.update(|node| {
            (node.connections, node.requests, node.draining) = (connections, requests, draining)
        });
    }

    /// Sets the client that sends explain requests to this node.
    pub(crate) fn set_explain_client(&self, client: ExplainClient) {
        if let Some(entry) = self.nodes.state().nodes.get_mut(&self.name).filter(|e| e.stream == self.stream)
        {
            entry.explain_client = Some(client);
        }
    }

    /// Records changes of backend health that the node reported.
    pub(crate) fn update_backend_health(&self, changes: Vec<BackendHealth>) {
        self.update(|node| {
            for BackendHealth { backend, down } in changes {
                match down {
                    Some(reason)
                        if node.down.len() < MAX_DOWN_BACKENDS || node.down.contains_key(&backend) =>
                    {
                        node.down.insert(backend, reason);
                    }
                    Some(_) => {}
                    None => drop(node.down.remove(&backend)),
                }
            }
        });
    }

    fn update(&self, change: impl FnOnce(&mut Node)) {
        if let Some(entry) = self.nodes.state().nodes.get_mut(&self.name)
            && entry.stream == self.stream
        {
            change(&mut entry.node);
            self.nodes.changed.send_replace(());
        }
    }
}

impl Drop for NodeConnection {
    fn drop(&mut self) {
        let now = self.nodes.clock.now();
        self.update(|node| (node.connected, node.since) = (false, now));
        let state = self.nodes.state();
        self.nodes.connected.set(state.connected());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_newer_stream_replaces_an_older_one_of_the_same_name() {
        let nodes = Nodes::new(Clock::system(), Gauge::default());
        let first = nodes.connect("edge1", "1", &Peer::Local).unwrap();
        let second = nodes.connect("edge1", "2", &Peer::Local).unwrap();
        first.replaced().await;
        assert!(!second.replaced.is_cancelled());
        drop(first);
        let list = nodes.list();
        assert_eq!(list.len(), 1);
        assert_eq!(nodes.connected.get(), 1);
        assert!(list[0].connected && list[0].build == "2", "the end of the older stream changes nothing");
        drop(second);
        assert!(!nodes.list()[0].connected);
        assert_eq!(nodes.connected.get(), 0);
    }

    #[test]
    fn the_length_and_number_of_names_are_bounded() {
        let nodes = Nodes::new(Clock::system(), Gauge::default());
        for bad in ["", "a\nb", &"x".repeat(254)] {
            assert!(nodes.connect(bad, "1", &Peer::Local).is_err());
        }
        for i in 0..MAX_DISCONNECTED + 20 {
            drop(nodes.connect(&format!("n{i}"), "1", &Peer::Local).unwrap());
        }
        assert!(nodes.list().len() <= MAX_DISCONNECTED + 1);
    }
}
