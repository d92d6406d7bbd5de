//! Queries of all connected nodes: the acknowledgement of a version, and explanations of a host.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};
use webgateway_proto::model::Host;

use super::{Node, Nodes};
use crate::domain::{AckProgress, AckTarget, NodeExplanation, NodeReject, RejectedResource};

impl Nodes {
    /// Waits until every connected node has acknowledged a version, for at most `limit`, and returns the progress.
    /// Returns early if a node rejects the resource, or if the number of nodes that acknowledged the version differs
    /// from `target.known`. A node that disconnects meanwhile does not count.
    pub(crate) async fn wait_acked(&self, target: &AckTarget, limit: Duration) -> AckProgress {
        let (mut changed, until) = (self.changed.subscribe(), Instant::now() + limit);
        loop {
            changed.mark_unchanged();
            let progress = self.progress(target);
            let all_acked = progress.pending.is_empty() && progress.acked >= target.min_nodes;
            let has_changed = target.known.is_some_and(|known| known != progress.acked);
            if all_acked || has_changed || !progress.rejects.is_empty() {
                return progress;
            }
            if !matches!(timeout_at(until, changed.changed()).await, Ok(Ok(()))) {
                return progress;
            }
        }
    }

    fn progress(&self, target: &AckTarget) -> AckProgress {
        let (state, name) = (self.state(), target.resource.as_ref().map(ToString::to_string));
        let mut progress = AckProgress::default();
        for node in state.nodes.values().map(|entry| &entry.node).filter(|node| node.connected) {
            if node.acked < target.version {
                progress.pending.push(node.name.clone());
                continue;
            }
            progress.acked += 1;
            if let Some(reason) = name.as_ref().and_then(|name| node.rejects.get(name)) {
                progress.rejects.push(NodeReject { node: node.name.clone(), reason: reason.clone() });
            }
        }
        progress
    }

    /// Requests an explanation of `host` from every connected node. Returns the explanations by node name.
    pub(super) async fn explain_all(&self, host: &Host, limit: Duration) -> Vec<NodeExplanation> {
        let clients: Vec<_> = {
            let state = self.state();
            let connected = state.nodes.values().filter(|entry| entry.node.connected);
            connected
                .map(|entry| {
                    (rejected_routes(&entry.node), entry.node.name.clone(), entry.explain_client.clone())
                })
                .collect()
        };
        let ask = |(rejects, node, client): (_, String, Option<super::ExplainClient>)| async move {
            let explanation = match client {
                Some(client) => client.explain(host, limit).await,
                None => None,
            };
            NodeExplanation { node, rejects, explanation }
        };
        join_all(clients.into_iter().map(ask)).await
    }
}

fn rejected_routes(node: &Node) -> Vec<RejectedResource> {
    let routes = node.rejects.iter().filter(|(name, _)| name.starts_with("route/"));
    let owned = |(resource, reason): (&String, &String)| RejectedResource {
        resource: resource.clone(),
        reason: reason.clone(),
    };
    routes.map(owned).collect()
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::gauge::Gauge;
    use webgateway_proto::feed::{Held, ResourceName};
    use webgateway_proto::model::RouteId;

    use super::*;
    use crate::clock::Clock;
    use crate::feed::catalog::Catalog;
    use crate::feed::peer::Peer;
    use crate::feed::samples::history;
    use crate::feed::session::Session;
    use crate::store::change::ChangeSet;

    #[tokio::test]
    async fn a_wait_ends_when_every_connected_node_has_acknowledged() {
        let nodes = Nodes::new(Clock::system(), Gauge::default());
        let route = RouteId::from_bytes([7; 16]);
        let target =
            AckTarget { version: 5, resource: Some(ResourceName::Route(route)), known: None, min_nodes: 0 };
        let limit = Duration::from_secs(10);
        let none = AckProgress::default();
        assert_eq!(nodes.wait_acked(&target, limit).await, none, "immediately, because no node is connected");

        let (one, two) = (
            nodes.connect("one", "1", &Peer::Local).unwrap(),
            nodes.connect("two", "1", &Peer::Local).unwrap(),
        );
        drop(nodes.connect("gone", "1", &Peer::Local).unwrap());
        let acked = |version, reject: Option<&str>| {
            let mut session = Session::new(Some(Held { epoch: "e".into(), version: 1 }));
            let mut catalog = Catalog::new(history("e"), 0);
            catalog.apply(ChangeSet { version, changed: vec![] });
            session.next(&catalog).unwrap();
            reject.into_iter().for_each(|reason| session.reject(format!("route/{route}"), reason));
            session.ack(version).unwrap();
            session
        };
        let counts = |progress: AckProgress| (progress.acked, progress.nodes(), progress.rejects.len());
        one.set_progress(&acked(5, None));
        assert_eq!(counts(nodes.wait_acked(&target, Duration::ZERO).await), (1, 2, 0));
        let known = AckTarget { known: Some(0), ..target.clone() };
        assert_eq!(
            counts(nodes.wait_acked(&known, limit).await),
            (1, 2, 0),
            "the number differs from the known one"
        );
        let waiting = AckTarget { known: Some(1), ..target.clone() };
        let (progress, ()) =
            tokio::join!(nodes.wait_acked(&waiting, limit), async { two.set_progress(&acked(6, None)) });
        assert_eq!(counts(progress), (2, 2, 0));
        two.set_progress(&acked(6, Some("no")));
        assert_eq!(
            nodes.wait_acked(&waiting, limit).await.rejects,
            [NodeReject { node: "two".into(), reason: "no".into() }]
        );
        drop(two);
        assert_eq!(counts(nodes.wait_acked(&waiting, limit).await), (1, 1, 0));
    }
}
