//! The feed's client: one stream at a time to a controlplane, for ever.

use std::convert::Infallible;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tracing::{debug, error, info, warn};
use webgateway_process::Stop;
use webgateway_proto::feed::wire;
use webgateway_proto::feed::{Explanation, FromNode, ToNode};

use super::apply::{Collector, Reject};
use super::backoff::Backoff;
use super::directive::Drain;
use super::link::{ConnectError, Link, root};
use super::{Published, Publisher};
use crate::backend::health_report::HealthReport;
use crate::backend::view::{BackendView, MAX_EXPLANATIONS};
use crate::clock::unix_now;
use crate::config::API_ANSWER;
use crate::controlplane::ControlplaneClient;
use crate::metrics::{Metrics, WorkerMetrics};

/// The interval between messages that say that the node lives.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// The time without a message after which the stream is taken for dead.
const SILENCE: Duration = Duration::from_secs(15);
/// The time that the cache may take to keep a batch before it is acknowledged all the same.
const KEEP_TIMEOUT: Duration = Duration::from_secs(10);
/// The interval between reports of the backends' health, which gather its changes.
const REPORT: Duration = Duration::from_secs(1);

type Client = wire::feed_client::FeedClient<Channel>;
/// Explanations that are being made.
type Explanations = JoinSet<Explanation>;

/// The reason why a stream ended.
#[derive(Debug, Error)]
enum StreamError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{}", status_message(.0))]
    Refused(#[from] Box<tonic::Status>),
    #[error("the controlplane was silent for {} s", SILENCE.as_secs())]
    Silent,
    #[error("the controlplane ended the stream")]
    Ended,
}

/// Returns what the controlplane said, or what became of the connection to it.
fn status_message(status: &tonic::Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => format!("the connection failed: {}", root(source)),
        None => format!("the controlplane says: {}", status.message()),
    }
}

/// The feed's client.
pub(crate) struct FeedClient {
    /// The connector to the controlplanes.
    pub link: Link,
    /// This node's name.
    pub node: String,
    /// The publisher of the batches.
    pub publisher: Publisher,
    /// The client for unary calls, connected while there is a stream.
    pub controlplane: ControlplaneClient,
    /// The operator's wish that this node drains.
    pub drain: Drain,
    /// The process's metrics.
    pub metrics: Metrics,
    /// The workers' metrics, to be reported.
    pub workers: Vec<WorkerMetrics>,
    /// The node's view of backends.
    pub view: BackendView,
}

impl FeedClient {
    /// Holds a stream until the process stops. Losing it changes nothing for traffic.
    pub(crate) async fn run(mut self, stop: Stop) -> Result<(), Infallible> {
        let mut backoff = Backoff::default();
        loop {
            let ended = tokio::select! {
                ended = self.stream(&mut backoff) => ended,
                () = stop.begun() => return Ok(()),
            };
            let Err(error) = ended;
            self.metrics.feed_connected.set(0);
            self.controlplane.disconnect();
            self.link.disconnect();
            let endpoint = self.link.current();
            // Logged once, not at every attempt.
            if self.link.record_failure(&error.to_string()) {
                warn!(%error, endpoint, "no feed, traffic goes on with what is held");
            } else {
                debug!(%error, endpoint, "no feed");
            }
            if !self.link.advance() {
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.failed(fastrand::f64())) => {}
                () = stop.begun() => return Ok(()),
            }
        }
    }

    async fn stream(&mut self, backoff: &mut Backoff) -> Result<Infallible, StreamError> {
        let channel = self.link.connect().await?;
        let mut client = Client::new(channel.clone()).max_decoding_message_size(API_ANSWER);
        let (outgoing, messages) = mpsc::channel::<wire::NodeMessage>(64);
        self.send(&outgoing, self.hello()).await?;
        let listeners = self.view.dialer.own_listeners.reachable_listeners();
        self.send(&outgoing, FromNode::Listeners(listeners)).await?;
        let subscribed = timeout(SILENCE, client.subscribe(ReceiverStream::new(messages))).await;
        let mut incoming = subscribed.map_err(|_| StreamError::Silent)?.map_err(Box::new)?.into_inner();
        self.controlplane.connect(channel);
        self.metrics.feed_connected.set(1);
        info!(endpoint = self.link.current(), "connected to the feed");
        self.link.succeeded();
        let (mut collector, mut reported) = (Collector::default(), HealthReport::default());
        let mut explanations = Explanations::new();
        let mut report = interval(REPORT);
        let mut beat = interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let begun = Instant::now();
        let mut heard = begun;
        let mut unanswered: Option<Unanswered> = None;
        loop {
            tokio::select! {
                message = timeout_at(heard + SILENCE, incoming.message()) => {
                    let message = message.map_err(|_| StreamError::Silent)?.map_err(Box::new)?;
                    heard = Instant::now();
                    self.metrics.config_age.confirmed(unix_now());
                    // A stream that ends soon, as when another node has this one's name, is no success.
                    if heard - begun > SILENCE {
                        backoff.succeeded();
                    }
                    let message = message.ok_or(StreamError::Ended)?;
                    match self.take(&mut collector, &mut explanations, message) {
                        Some(Due::Batch(batch)) => unanswered = Some(self.answer(batch, &outgoing).await?),
                        Some(Due::Status) => self.send(&outgoing, self.status()).await?,
                        None => {}
                    }
                }
                version = kept(&mut unanswered) => {
                    unanswered = None;
                    self.send(&outgoing, FromNode::Ack(version)).await?;
                }
                Some(Ok(explanation)) = explanations.join_next() => {
                    self.send(&outgoing, FromNode::Explanation(Box::new(explanation))).await?;
                }
                _ = report.tick() => for changes in reported.changes(&self.view.unhealthy.load_full()) {
                    self.send(&outgoing, FromNode::Health(changes)).await?;
                },
                // A status is a sign of life as good as any.
                _ = beat.tick() => self.send(&outgoing, self.status()).await?,
            }
        }
    }

    fn status(&self) -> FromNode {
        let connections = self.workers.iter().map(|worker| worker.open.get()).sum::<i64>();
        let requests = self.workers.iter().map(WorkerMetrics::requests).sum();
        FromNode::Status {
            connections: u64::try_from(connections).unwrap_or_default(),
            requests,
            draining: self.drain.is_on(),
        }
    }

    fn hello(&self) -> FromNode {
        FromNode::Hello {
            node: self.node.clone(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            held: self.publisher.current().held.clone(),
        }
    }

    fn take(
        &mut self,
        collector: &mut Collector,
        explanations: &mut Explanations,
        message: wire::FeedMessage,
    ) -> Option<Due> {
        let current = self.publisher.current();
        let allowed = collector.allowed_backends(&current);
        let message = match ToNode::read(message, &allowed) {
            ToNode::Directive { drain } => {
                self.drain.obey(drain);
                return Some(Due::Status);
            }
            ToNode::Explain { id, host } => {
                // A question too many stays without an answer; the controlplane waits for a while only.
                if explanations.len() < MAX_EXPLANATIONS {
                    let view = self.view.clone();
                    explanations.spawn(view.explain(current, self.publisher.version(), id, host));
                }
                return None;
            }
            message => message,
        };
        let complete = collector.take(message, &current)?;
        drop(current);
        Some(Due::Batch(self.publisher.publish(complete)))
    }

    /// Sends what of a batch could not be used; it is acknowledged once it is kept.
    async fn answer(
        &self,
        published: Published,
        outgoing: &mpsc::Sender<wire::NodeMessage>,
    ) -> Result<Unanswered, StreamError> {
        let Published { version, rejects, kept } = published;
        for Reject { resource, reason } in rejects {
            self.send(outgoing, FromNode::Reject { version, resource, reason }).await?;
        }
        debug!(version, "applied");
        Ok(Unanswered { version, kept, deadline: Instant::now() + KEEP_TIMEOUT })
    }

    async fn send(
        &self,
        outgoing: &mpsc::Sender<wire::NodeMessage>,
        message: FromNode,
    ) -> Result<(), StreamError> {
        outgoing.send(message.into()).await.map_err(|_| StreamError::Ended)
    }
}

/// An answer that is due to the controlplane.
enum Due {
    /// To a batch.
    Batch(Published),
    /// To a directive.
    Status,
}

/// A batch that is in use. The controlplane sends no other before it is acknowledged.
struct Unanswered {
    version: u64,
    kept: Option<oneshot::Receiver<()>>,
    deadline: Instant,
}

/// Waits until the batch is in the cache, or cannot be; safe to be cancelled.
async fn kept(unanswered: &mut Option<Unanswered>) -> u64 {
    let Some(Unanswered { version, kept, deadline }) = unanswered else {
        return std::future::pending().await;
    };
    if let Some(kept) = kept
        && timeout_at(*deadline, kept).await.is_err()
    {
        error!(version, "`cache_dir`: the disk does not answer; a restart may serve what was removed");
    }
    *version
}
