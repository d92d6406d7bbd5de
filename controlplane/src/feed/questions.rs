//! Questions to one node: put over its stream, and answered there in time or not at all.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use webgateway_proto::feed::{Explanation, ToNode};
use webgateway_proto::model::Host;

/// How many questions wait for one node.
const QUEUE: usize = 16;

struct Question {
    host: Host,
    answer: oneshot::Sender<Explanation>,
}

/// Asks one node; clones ask the same.
#[derive(Debug, Clone)]
pub(crate) struct Asker(mpsc::Sender<Question>);

/// What one node is asked.
#[derive(Debug)]
pub(crate) struct Questions {
    queue: mpsc::Receiver<Question>,
    open: HashMap<u64, oneshot::Sender<Explanation>>,
    asked: u64,
}

/// The two ends.
#[must_use]
pub(crate) fn questions() -> (Asker, Questions) {
    let (asker, queue) = mpsc::channel(QUEUE);
    (Asker(asker), Questions { queue, open: HashMap::new(), asked: 0 })
}

impl Asker {
    /// How `host` looks from the node; none if it does not say so in time.
    pub(crate) async fn ask(&self, host: &Host, limit: Duration) -> Option<Explanation> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Question { host: host.clone(), answer }).ok()?;
        timeout(limit, answered).await.ok()?.ok()
    }
}

impl Questions {
    /// The next question, as it is put to the node.
    pub(crate) async fn next(&mut self) -> ToNode {
        let Some(Question { host, answer }) = self.queue.recv().await else {
            // Nobody can ask any more.
            return std::future::pending().await;
        };
        self.open.retain(|_, answer| !answer.is_closed());
        self.asked += 1;
        self.open.insert(self.asked, answer);
        ToNode::Explain { id: self.asked, host }
    }

    /// The node has answered. An answer that nobody waits for is dropped.
    pub(crate) fn answered(&mut self, explanation: Explanation) {
        if let Some(answer) = self.open.remove(&explanation.id) {
            let _ = answer.send(explanation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_answer_goes_to_whoever_asked_and_late_ones_to_nobody() {
        let (asker, mut questions) = questions();
        let host = |name: &str| Host::parse(name).unwrap();
        let answer = |id| Explanation { id, version: id, route: None, certificate: None, backends: vec![] };
        let (one, two) = (host("one.example"), host("two.example"));
        let limit = Duration::from_secs(10);
        let node = async {
            let ToNode::Explain { id: first, host } = questions.next().await else { panic!("no question") };
            let ToNode::Explain { id: second, .. } = questions.next().await else { panic!("no question") };
            assert_eq!(host, one);
            questions.answered(answer(second));
            questions.answered(answer(first));
            questions.answered(answer(99));
        };
        let (first, second, ()) = tokio::join!(asker.ask(&one, limit), asker.ask(&two, limit), node);
        assert_eq!((first.map(|e| e.version), second.map(|e| e.version)), (Some(1), Some(2)));
        assert_eq!(asker.ask(&one, Duration::from_millis(1)).await, None);
        questions.next().await;
        for _ in 0..100 {
            assert_eq!(asker.ask(&one, Duration::ZERO).await, None);
            questions.next().await;
        }
        assert!(questions.open.len() <= 1, "who has gone leaves nothing behind");
        drop(questions);
        assert_eq!(asker.ask(&one, limit).await, None);
    }
}
