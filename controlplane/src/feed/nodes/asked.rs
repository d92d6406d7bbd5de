//! The questions to all nodes at once: do they hold a version, and how does a host look from each?

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};
use webgateway_proto::model::Host;

use super::{Node, Nodes};
use crate::domain::{AckProgress, AckTarget, NodeAnswer, NodeReject, RejectedResource};

impl Nodes {
    /// Waits until every connected node has acknowledged a version, at most for `limit`, and returns how far it has
    /// come. Returns early when a node rejects the resource, or another number of nodes than is known acknowledged it.
    /// A node that disconnects meanwhile does not count.
    pub(crate) async fn wait_acked(&self, target: &AckTarget, limit: Duration) -> AckProgress {
        let (mut changed, until) = (self.changed.subscribe(), Instant::now() + limit);
        loop {
            changed.mark_unchanged();
            let progress = self.progress(target);
            let all_acked = progress.pending.is_empty() && progress.acked >= target.min_nodes;
            let is_news = target.known.is_some_and(|known| known != progress.acked);
            if all_acked || is_news || !progress.rejects.is_empty() {
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

    /// Every connected node's answer, by name.
    pub(super) async fn ask_all(&self, host: &Host, limit: Duration) -> Vec<NodeAnswer> {
        let askers: Vec<_> = {
            let state = self.state();
            let connected = state.nodes.values().filter(|entry| entry.node.connected);
            connected
                .map(|entry| (routes_rejected(&entry.node), entry.node.name.clone(), entry.asker.clone()))
                .collect()
        };
        let ask = |(rejects, node, asker): (_, String, Option<super::Asker>)| async move {
            let answer = match asker {
                Some(asker) => asker.ask(host, limit).await,
                None => None,
            };
            NodeAnswer { node, rejects, answer }
        };
        join_all(askers.into_iter().map(ask)).await
    }
}

fn routes_rejected(node: &Node) -> Vec<RejectedResource> {
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
    use webgateway_proto::feed::{FeedVersion, ResourceName};
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
        assert_eq!(nodes.wait_acked(&target, limit).await, none, "at once: there is nobody to wait for");

        let (one, two) = (
            nodes.connect("one", "1", &Peer::Local).unwrap(),
            nodes.connect("two", "1", &Peer::Local).unwrap(),
        );
        drop(nodes.connect("gone", "1", &Peer::Local).unwrap());
        let acked = |version, reject: Option<&str>| {
            let mut session = Session::new(Some(FeedVersion { epoch: "e".into(), version: 1 }));
            let mut catalog = Catalog::new(history("e"), 0);
            catalog.apply(ChangeSet { version, changed: vec![] });
            session.next(&catalog).unwrap();
            reject.into_iter().for_each(|reason| session.reject(format!("route/{route}"), reason));
            session.ack(version).unwrap();
            session
        };
        let counts = |progress: AckProgress| (progress.acked, progress.nodes(), progress.rejects.len());
        one.progressed(&acked(5, None));
        assert_eq!(counts(nodes.wait_acked(&target, Duration::ZERO).await), (1, 2, 0));
        let known = AckTarget { known: Some(0), ..target.clone() };
        assert_eq!(counts(nodes.wait_acked(&known, limit).await), (1, 2, 0), "that is news");
        let waiting = AckTarget { known: Some(1), ..target.clone() };
        let (progress, ()) =
            tokio::join!(nodes.wait_acked(&waiting, limit), async { two.progressed(&acked(6, None)) });
        assert_eq!(counts(progress), (2, 2, 0));
        two.progressed(&acked(6, Some("no")));
        assert_eq!(
            nodes.wait_acked(&waiting, limit).await.rejects,
            [NodeReject { node: "two".into(), reason: "no".into() }]
        );
        drop(two);
        assert_eq!(counts(nodes.wait_acked(&waiting, limit).await), (1, 1, 0));
    }
}
