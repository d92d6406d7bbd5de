//! Open-loop load: requests have fixed times, and durations count from these, so that a late response delays no other
//! one.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use webgateway_tests::client::{Connection, Reply};

/// A signed request and its time.
pub(crate) struct ScheduledRequest {
    /// The time of the request, relative to the start.
    pub(crate) after: Duration,
    /// The signed request, in the form of HTTP/1.1.
    pub(crate) request: Request<Full<Bytes>>,
}

/// The results of many requests.
#[derive(Debug, Default)]
pub(crate) struct PhaseResult {
    /// The time from each request's scheduled time to its complete response.
    pub(crate) took: Vec<Duration>,
    /// The time of the last response, relative to the start.
    pub(crate) over: Duration,
    /// The number of responses without a result.
    pub(crate) failed: usize,
    /// The first of these responses.
    pub(crate) first_failure: Option<String>,
}

type Queue = Rc<RefCell<std::vec::IntoIter<ScheduledRequest>>>;

/// Sends all requests, each at its time or as soon as a connection is free.
pub(crate) async fn drive(
    api: SocketAddr,
    requests: Vec<ScheduledRequest>,
    connections: usize,
    start: Instant,
) -> Result<PhaseResult> {
    let mut workers = JoinSet::new();
    let connections = connections.min(requests.len());
    let queue: Queue = Rc::new(RefCell::new(requests.into_iter()));
    for _ in 0..connections {
        workers.spawn_local(work(Connection::plain(api).await?, Rc::clone(&queue), start));
    }
    let mut all = PhaseResult::default();
    while let Some(ended) = workers.join_next().await {
        all.add(ended??);
    }
    Ok(all)
}

async fn work(mut connection: Connection, queue: Queue, start: Instant) -> Result<PhaseResult> {
    let mut outcome = PhaseResult::default();
    loop {
        let Some(ScheduledRequest { after, request }) = queue.borrow_mut().next() else { return Ok(outcome) };
        let due = start + after;
        sleep_until(due.into()).await;
        let reply = connection.send(request).await?;
        outcome.took.push(due.elapsed());
        outcome.over = start.elapsed();
        if !is_result(&reply) {
            outcome.failed += 1;
            outcome.first_failure.get_or_insert_with(|| format!("{} {}", reply.status, reply.text()));
        }
    }
}

/// Returns true if the response is a result. Only the first bytes are read: parsing would cost more than the request.
fn is_result(reply: &Reply) -> bool {
    reply.status == 200 && reply.body.starts_with(br#"{"jsonrpc":"2.0","result":"#)
}

impl PhaseResult {
    fn add(&mut self, other: Self) {
        self.took.extend(other.took);
        self.over = self.over.max(other.over);
        self.failed += other.failed;
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }
}
