//! Explain requests to one node: sent over the node's stream and matched with its responses by id.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use webgateway_proto::feed::{Explanation, ToNode};
use webgateway_proto::model::Host;

/// The maximum number of requests that wait to be sent to one node.
const QUEUE: usize = 16;

struct ExplainRequest {
    host: Host,
    response: oneshot::Sender<Explanation>,
}

/// A client that sends explain requests to one node. Clones use the same node.
#[derive(Debug, Clone)]
pub(crate) struct ExplainClient(mpsc::Sender<ExplainRequest>);

/// The explain requests to one node: those to be sent, and those that wait for a response.
#[derive(Debug)]
pub(crate) struct ExplainQueue {
    queue: mpsc::Receiver<ExplainRequest>,
    pending: HashMap<u64, oneshot::Sender<Explanation>>,
    last_id: u64,
}

/// Creates a client and the queue that it sends to.
#[must_use]
pub(crate) fn explain_channel() -> (ExplainClient, ExplainQueue) {
    let (requests, queue) = mpsc::channel(QUEUE);
    (ExplainClient(requests), ExplainQueue { queue, pending: HashMap::new(), last_id: 0 })
}

impl ExplainClient {
    /// Requests an explanation of `host` from the node. Returns `None` if there is no response within `limit`.
    pub(crate) async fn explain(&self, host: &Host, limit: Duration) -> Option<Explanation> {
        let (response, received) = oneshot::channel();
        self.0.try_send(ExplainRequest { host: host.clone(), response }).ok()?;
        timeout(limit, received).await.ok()?.ok()
    }
}

impl ExplainQueue {
    /// Waits for the next request and returns the message to send to the node.
    pub(crate) async fn next(&mut self) -> ToNode {
        let Some(ExplainRequest { host, response }) = self.queue.recv().await else {
            // All clients are dropped, so that no request can follow.
            return std::future::pending().await;
        };
        self.pending.retain(|_, response| !response.is_closed());
        self.last_id += 1;
        self.pending.insert(self.last_id, response);
        ToNode::Explain { id: self.last_id, host }
    }

    /// Passes a response of the node to the waiting client. A response without a waiting client is dropped.
    pub(crate) fn complete(&mut self, explanation: Explanation) {
        if let Some(response) = self.pending.remove(&explanation.id) {
            let _ = response.send(explanation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn responses_reach_their_requests_and_late_ones_are_dropped() {
        let (client, mut queue) = explain_channel();
        let host = |name: &str| Host::parse(name).unwrap();
        let explanation =
            |id| Explanation { id, version: id, route: None, certificate: None, backends: vec![] };
        let (one, two) = (host("one.example"), host("two.example"));
        let limit = Duration::from_secs(10);
        let node = async {
            let ToNode::Explain { id: first, host } = queue.next().await else { panic!("no request") };
            let ToNode::Explain { id: second, .. } = queue.next().await else { panic!("no request") };
            assert_eq!(host, one);
            queue.complete(explanation(second));
            queue.complete(explanation(first));
            queue.complete(explanation(99));
        };
        let (first, second, ()) =
            tokio::join!(client.explain(&one, limit), client.explain(&two, limit), node);
        assert_eq!((first.map(|e| e.version), second.map(|e| e.version)), (Some(1), Some(2)));
        assert_eq!(client.explain(&one, Duration::from_millis(1)).await, None);
        queue.next().await;
        for _ in 0..100 {
            assert_eq!(client.explain(&one, Duration::ZERO).await, None);
            queue.next().await;
        }
        assert!(queue.pending.len() <= 1, "abandoned requests are forgotten");
        drop(queue);
        assert_eq!(client.explain(&one, limit).await, None);
    }
}
