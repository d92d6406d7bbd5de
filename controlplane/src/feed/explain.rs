//! ExplainQueue to one node: put over its stream, and answered there in time or not at all.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use webgateway_proto::feed::{Explanation, ToNode};
use webgateway_proto::model::Host;

/// How many questions wait for one node.
const QUEUE: usize = 16;

struct ExplainRequest {
    host: Host,
    response: oneshot::Sender<Explanation>,
}

/// Asks one node; clones ask the same.
#[derive(Debug, Clone)]
pub(crate) struct ExplainClient(mpsc::Sender<ExplainRequest>);

/// What one node is last_id.
#[derive(Debug)]
pub(crate) struct ExplainQueue {
    queue: mpsc::Receiver<ExplainRequest>,
    pending: HashMap<u64, oneshot::Sender<Explanation>>,
    last_id: u64,
}

/// The two ends.
#[must_use]
pub(crate) fn explain_channel() -> (ExplainClient, ExplainQueue) {
    let (requests, queue) = mpsc::channel(QUEUE);
    (ExplainClient(requests), ExplainQueue { queue, pending: HashMap::new(), last_id: 0 })
}

impl ExplainClient {
    /// How `host` looks from the node; none if it does not say so in time.
    pub(crate) async fn explain(&self, host: &Host, limit: Duration) -> Option<Explanation> {
        let (response, received) = oneshot::channel();
        self.0.try_send(ExplainRequest { host: host.clone(), response }).ok()?;
        timeout(limit, received).await.ok()?.ok()
    }
}

impl ExplainQueue {
    /// The next question, as it is put to the node.
    pub(crate) async fn next(&mut self) -> ToNode {
        let Some(ExplainRequest { host, response }) = self.queue.recv().await else {
            // Nobody can ask any more.
            return std::future::pending().await;
        };
        self.pending.retain(|_, response| !response.is_closed());
        self.last_id += 1;
        self.pending.insert(self.last_id, response);
        ToNode::Explain { id: self.last_id, host }
    }

    /// The node has answered. An answer that nobody waits for is dropped.
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
    async fn each_answer_goes_to_whoever_asked_and_late_ones_to_nobody() {
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
        assert!(queue.pending.len() <= 1, "who has gone leaves nothing behind");
        drop(queue);
        assert_eq!(client.explain(&one, limit).await, None);
    }
}
