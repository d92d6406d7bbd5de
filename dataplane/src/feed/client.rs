//! The client of the feed: one stream at a time to a controlplane, reopened whenever it ends.

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

use super::apply::{BatchBuilder, Rejection};
use super::backoff::Backoff;
use super::connector::{ConnectError, FeedConnector, root_cause};
use super::drain::DrainState;
use super::{PublishedBatch, Publisher};
use crate::backend::health_report::HealthReport;
use crate::backend::view::{BackendView, MAX_EXPLANATIONS};
use crate::clock::unix_now;
use crate::config::API_ANSWER;
use crate::controlplane::ControlplaneClient;
use crate::metrics::{Metrics, WorkerMetrics};
use crate::stats::TrafficReporter;

/// The interval between the node's status messages, which are also its heartbeat.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// The maximum time between two messages of the controlplane, after which the stream is considered dead.
const STREAM_TIMEOUT: Duration = Duration::from_secs(15);
/// The time for the cache to store a batch, after which the batch is acknowledged all the same.
const PERSIST_TIMEOUT: Duration = Duration::from_secs(10);
/// The interval between reports of changes in the backends' health.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

type Client = wire::feed_client::FeedClient<Channel>;
/// The tasks that work on explanations.
type Explanations = JoinSet<Explanation>;

/// The stream ended.
#[derive(Debug, Error)]
enum StreamError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{}", status_message(.0))]
    Status(#[from] Box<tonic::Status>),
    #[error("the controlplane sent nothing for {} s", STREAM_TIMEOUT.as_secs())]
    Timeout,
    #[error("the controlplane ended the stream")]
    Ended,
}

/// Formats a status: the controlplane's message, or the error of the connection if the status was made locally.
fn status_message(status: &tonic::Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => format!("the connection failed: {}", root_cause(source)),
        None => format!("error from the controlplane: {}", status.message()),
    }
}

/// The client of the feed.
pub(crate) struct FeedClient {
    /// The connector to the controlplanes.
    pub connector: FeedConnector,
    /// This node's name.
    pub node: String,
    /// The publisher of the batches.
    pub publisher: Publisher,
    /// The client for unary calls, connected while there is a stream.
    pub controlplane: ControlplaneClient,
    /// The drain state of this node.
    pub drain: DrainState,
    /// The process's metrics.
    pub metrics: Metrics,
    /// The workers' metrics, for status messages.
    pub workers: Vec<WorkerMetrics>,
    /// The node's view of its backends.
    pub view: BackendView,
    /// The reports of traffic.
    pub traffic: TrafficReporter,
}

impl FeedClient {
    /// Keeps a stream open until the process stops. Traffic goes on without one.
    pub(crate) async fn run(mut self, stop: Stop) -> Result<(), Infallible> {
        let mut backoff = Backoff::default();
        loop {
            let Err(error) = tokio::select! {
                ended = self.run_stream(&mut backoff) => ended,
                () = stop.begun() => return Ok(()),
            };
            self.metrics.feed_connected.set(0);
            self.controlplane.disconnect();
            self.traffic.disconnected();
            self.connector.disconnect();
            let endpoint = self.connector.current();
            // A warning for a new error only, not at every attempt.
            if self.connector.record_failure(&error.to_string()) {
                warn!(%error, endpoint, "feed unavailable, serving the last snapshot");
            } else {
                debug!(%error, endpoint, "feed unavailable");
            }
            if !self.connector.advance() {
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next_delay(fastrand::f64())) => {}
                () = stop.begun() => return Ok(()),
            }
        }
    }

    async fn run_stream(&mut self, backoff: &mut Backoff) -> Result<Infallible, StreamError> {
        let channel = self.connector.connect().await?;
        let mut client = Client::new(channel.clone()).max_decoding_message_size(API_ANSWER);
        let (outgoing, messages) = mpsc::channel::<wire::NodeMessage>(64);
        self.send(&outgoing, self.hello()).await?;
        let listeners = self.view.dialer.own_listeners().reachable_listeners();
        self.send(&outgoing, FromNode::Listeners(listeners)).await?;
        let subscribed = timeout(STREAM_TIMEOUT, client.subscribe(ReceiverStream::new(messages))).await;
        let mut incoming = subscribed.map_err(|_| StreamError::Timeout)?.map_err(Box::new)?.into_inner();
        self.controlplane.connect(channel);
        self.metrics.feed_connected.set(1);
        info!(endpoint = self.connector.current(), "feed connected");
        self.connector.record_success();
        let (mut builder, mut reported) = (BatchBuilder::default(), HealthReport::default());
        let mut explanations = Explanations::new();
        let mut health_tick = interval(HEALTH_INTERVAL);
        let mut status_tick = interval(STATUS_INTERVAL);
        status_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let started = Instant::now();
        let mut last_message = started;
        let mut pending: Option<PendingAck> = None;
        loop {
            tokio::select! {
                message = timeout_at(last_message + STREAM_TIMEOUT, incoming.message()) => {
                    let message = message.map_err(|_| StreamError::Timeout)?.map_err(Box::new)?;
                    last_message = Instant::now();
                    self.metrics.config_age.confirmed(unix_now());
                    // A stream that ends early is a failure: another node may have this one's name, for instance.
                    if last_message - started > STREAM_TIMEOUT {
                        backoff.reset();
                    }
                    let message = message.ok_or(StreamError::Ended)?;
                    match self.handle_message(&mut builder, &mut explanations, message) {
                        Some(StreamReply::Batch(batch)) => {
                            pending = Some(self.send_rejections(batch, &outgoing).await?);
                        }
                        Some(StreamReply::Status) => self.send(&outgoing, self.status()).await?,
                        None => {}
                    }
                }
                version = wait_persisted(&mut pending) => {
                    pending = None;
                    self.send(&outgoing, FromNode::Ack(version)).await?;
                }
                Some(Ok(explanation)) = explanations.join_next() => {
                    self.send(&outgoing, FromNode::Explanation(Box::new(explanation))).await?;
                }
                _ = health_tick.tick() => for changes in reported.changes(&self.view.unhealthy.load_full()) {
                    self.send(&outgoing, FromNode::Health(changes)).await?;
                },
                _ = status_tick.tick() => self.send(&outgoing, self.status()).await?,
                message = self.traffic.next() => self.send(&outgoing, message).await?,
            }
        }
    }

    fn status(&self) -> FromNode {
        let connections = self.workers.iter().map(|worker| worker.open.get()).sum::<i64>();
        let requests = self.workers.iter().map(WorkerMetrics::requests).sum();
        FromNode::Status {
            connections: u64::try_from(connections).unwrap_or_default(),
            requests,
            draining: self.drain.is_draining(),
        }
    }

    fn hello(&self) -> FromNode {
        FromNode::Hello {
            node: self.node.clone(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            held: self.publisher.current().held.clone(),
        }
    }

    fn handle_message(
        &mut self,
        builder: &mut BatchBuilder,
        explanations: &mut Explanations,
        message: wire::FeedMessage,
    ) -> Option<StreamReply> {
        let current = self.publisher.current();
        let allowed = builder.allowed_backends(&current);
        let message = match ToNode::read(message, &allowed) {
            ToNode::Directive { drain } => {
                self.drain.set(drain);
                return Some(StreamReply::Status);
            }
            ToNode::Explain { id, host } => {
                // A request over the limit gets no response: the controlplane's own timeout ends it.
                if explanations.len() < MAX_EXPLANATIONS {
                    let view = self.view.clone();
                    explanations.spawn(view.explain(current, self.publisher.version(), id, host));
                }
                return None;
            }
            ToNode::TrafficAck(sequence) => {
                self.traffic.acknowledge(sequence);
                return None;
            }
            ToNode::Follow(routes) => {
                self.traffic.follow(routes);
                return None;
            }
            message => message,
        };
        let batch = builder.push(message, &current)?;
        drop(current);
        Some(StreamReply::Batch(self.publisher.publish(batch)))
    }

    /// Reports the resources of a batch that were rejected; returns the acknowledgement that is sent once the batch is
    /// in the cache.
    async fn send_rejections(
        &self,
        batch: PublishedBatch,
        outgoing: &mpsc::Sender<wire::NodeMessage>,
    ) -> Result<PendingAck, StreamError> {
        let PublishedBatch { version, rejections, persisted } = batch;
        for Rejection { resource, reason } in rejections {
            self.send(outgoing, FromNode::Reject { version, resource, reason }).await?;
        }
        debug!(version, "batch applied");
        Ok(PendingAck { version, persisted, deadline: Instant::now() + PERSIST_TIMEOUT })
    }

    async fn send(
        &self,
        outgoing: &mpsc::Sender<wire::NodeMessage>,
        message: FromNode,
    ) -> Result<(), StreamError> {
        outgoing.send(message.into()).await.map_err(|_| StreamError::Ended)
    }
}

/// The reply to a message of the controlplane.
enum StreamReply {
    /// The rejections of a batch and its acknowledgement.
    Batch(PublishedBatch),
    /// A status, after a directive.
    Status,
}

/// The acknowledgement of a batch that is in use. The controlplane sends no other batch before it arrives.
struct PendingAck {
    version: u64,
    persisted: Option<oneshot::Receiver<()>>,
    deadline: Instant,
}

/// Waits until the pending batch is in the cache, or cannot be stored, and returns its version. Cancel safe.
async fn wait_persisted(pending: &mut Option<PendingAck>) -> u64 {
    let Some(PendingAck { version, persisted, deadline }) = pending else {
        return std::future::pending().await;
    };
    if let Some(persisted) = persisted
        && timeout_at(*deadline, persisted).await.is_err()
    {
        error!(
            version,
            "`cache_dir`: the disk does not respond; a restart without the controlplane may serve removed routes"
        );
    }
    *version
}
