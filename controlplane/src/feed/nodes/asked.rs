//! What others ask of all nodes at once: whether they hold a version, and how a host looks from each.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};
use webgateway_proto::feed::ResourceName;
use webgateway_proto::model::Host;

use super::{Node, Nodes};
use crate::domain::{Answered, Awaited, Settled};

impl Nodes {
    /// How many hold a version, as soon as that is another number than is known, a node rejects the route, all do,
    /// none is there, or `limit` is over.
    pub(super) async fn settle(&self, awaited: &Awaited, limit: Duration) -> Settled {
        let (mut changed, until) = (self.changed.subscribe(), Instant::now() + limit);
        loop {
            changed.mark_unchanged();
            let settled = self.settled(awaited);
            let is_news = settled.acked == settled.nodes || !settled.rejects.is_empty();
            if is_news || awaited.known.is_some_and(|known| known != settled.acked) {
                return settled;
            }
            if !matches!(timeout_at(until, changed.changed()).await, Ok(Ok(()))) {
                return settled;
            }
        }
    }

    fn settled(&self, awaited: &Awaited) -> Settled {
        let state = self.state();
        let name = awaited.route.map(|id| ResourceName::Route(id).to_string());
        let mut settled = Settled::default();
        for node in state.nodes.values().map(|entry| &entry.node).filter(|node| node.connected) {
            settled.nodes += 1;
            if node.acked >= awaited.version {
                settled.acked += 1;
                let reason = name.as_ref().and_then(|name| node.rejects.get(name));
                settled.rejects.extend(reason.map(|reason| (node.name.clone(), reason.clone())));
            }
        }
        settled
    }

    /// Every connected node's answer, by name.
    pub(super) async fn ask_all(&self, host: &Host, limit: Duration) -> Vec<Answered> {
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
            Answered { node, rejects, answer }
        };
        join_all(askers.into_iter().map(ask)).await
    }
}

fn routes_rejected(node: &Node) -> Vec<(String, String)> {
    let routes = node.rejects.iter().filter(|(name, _)| name.starts_with("route/"));
    routes.map(|(name, reason)| (name.clone(), reason.clone())).collect()
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::gauge::Gauge;
    use webgateway_proto::feed::Held;
    use webgateway_proto::model::RouteId;

    use super::*;
    use crate::clock::Clock;
    use crate::feed::catalog::Catalog;
    use crate::feed::peer::Peer;
    use crate::feed::samples::history;
    use crate::feed::session::Session;
    use crate::store::change::Changes;

    #[tokio::test]
    async fn it_is_settled_when_every_connected_node_has_acknowledged() {
        let nodes = Nodes::new(Clock::system(), Gauge::default());
        let route = RouteId::from_bytes([7; 16]);
        let awaited = Awaited { version: 5, route: Some(route), known: None };
        let limit = Duration::from_secs(10);
        let none = Settled::default();
        assert_eq!(nodes.settle(&awaited, limit).await, none, "at once: there is nobody to wait for");

        let (one, two) = (
            nodes.connect("one", "1", &Peer::Local).unwrap(),
            nodes.connect("two", "1", &Peer::Local).unwrap(),
        );
        drop(nodes.connect("gone", "1", &Peer::Local).unwrap());
        let acked = |version, reject: Option<&str>| {
            let mut session = Session::new(Some(Held { epoch: "e".into(), version: 1 }));
            let mut catalog = Catalog::new(history("e"), 0);
            catalog.apply(Changes { version, changed: vec![] });
            session.next(&catalog).unwrap();
            reject.into_iter().for_each(|reason| session.reject(format!("route/{route}"), reason));
            session.ack(version).unwrap();
            session
        };
        let counts = |settled: Settled| (settled.acked, settled.nodes, settled.rejects.len());
        one.progressed(&acked(5, None));
        assert_eq!(counts(nodes.settle(&awaited, Duration::ZERO).await), (1, 2, 0));
        let known = Awaited { known: Some(0), ..awaited.clone() };
        assert_eq!(counts(nodes.settle(&known, limit).await), (1, 2, 0), "that is news");
        let waiting = Awaited { known: Some(1), ..awaited.clone() };
        let (settled, ()) =
            tokio::join!(nodes.settle(&waiting, limit), async { two.progressed(&acked(6, None)) });
        assert_eq!(counts(settled), (2, 2, 0));
        two.progressed(&acked(6, Some("no")));
        assert_eq!(nodes.settle(&waiting, limit).await.rejects, [("two".to_owned(), "no".to_owned())]);
        drop(two);
        assert_eq!(counts(nodes.settle(&waiting, limit).await), (1, 1, 0));
    }
}
