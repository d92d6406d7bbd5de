//! The feed's client: one stream at a time to the controlplane, for ever; and the door for API requests.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tracing::{debug, error, info, warn};
use webgateway_process::Stop;
use webgateway_proto::feed::wire;
use webgateway_proto::feed::{ApiCall, ApiReply, Explanation, FromNode, Question, ToNode};

use super::apply::Collector;
use super::backoff::Backoff;
use super::directive::Drain;
use super::explain::{self, Sight};
use super::link::{Link, NotConnected, root};
use super::report::Told;
use super::{Published, Publisher};
use crate::clock::unix_now;
use crate::config::{API_ANSWER, API_BODIES, API_TIMEOUT};
use crate::metrics::{Metrics, WorkerMetrics};

/// How often the node says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Without a word for that long, the stream is dead.
const SILENCE: Duration = Duration::from_secs(15);
/// A cache that takes longer to keep a batch is not waited for.
const KEEP_TIMEOUT: Duration = Duration::from_secs(10);

type Client = wire::feed_client::FeedClient<Channel>;
/// Answers under way.
type Answers = JoinSet<Explanation>;

/// Why a stream ended.
#[derive(Debug, Error)]
enum StreamEnded {
    #[error(transparent)]
    Connect(#[from] NotConnected),
    #[error("{}", told(.0))]
    Refused(#[from] Box<tonic::Status>),
    #[error("the controlplane was silent for {} s", SILENCE.as_secs())]
    Silent,
    #[error("the controlplane ended the stream")]
    Ended,
}

/// What the controlplane said, or what became of the connection to it.
fn told(status: &tonic::Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => format!("the connection failed: {}", root(source)),
        None => format!("the controlplane says: {}", status.message()),
    }
}

/// The API cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ApiUnavailable {
    /// There is no controlplane.
    #[error("the controlplane is away")]
    Away,
    /// Too much is under way.
    #[error("too many requests are under way, try again in a moment")]
    Busy,
    /// It took too long.
    #[error("the controlplane took too long")]
    Timeout,
    /// It failed, or answered something that is no HTTP.
    #[error("the controlplane failed")]
    Failed,
}

/// Where API requests go through to the controlplane. Clones are the same door.
#[derive(Clone)]
pub struct ApiDoor {
    client: Arc<ArcSwapOption<Client>>,
    /// Bytes that bodies may still take: anybody may send them, signed or not.
    room: Arc<Semaphore>,
}

impl Default for ApiDoor {
    fn default() -> Self {
        Self { client: Arc::default(), room: Arc::new(Semaphore::new(API_BODIES)) }
    }
}

impl ApiDoor {
    /// Takes room for `bytes` of a body, given back when dropped.
    pub fn admit(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiUnavailable> {
        let bytes = u32::try_from(bytes).map_err(|_| ApiUnavailable::Busy)?;
        Arc::clone(&self.room).try_acquire_many_owned(bytes).map_err(|_| ApiUnavailable::Busy)
    }

    /// Asks the controlplane.
    pub async fn call(
        &self,
        request: http::Request<Bytes>,
        client: IpAddr,
    ) -> Result<ApiReply, ApiUnavailable> {
        let mut door = Client::clone(&*self.client.load_full().ok_or(ApiUnavailable::Away)?);
        let call = door.call(wire::CallRequest::from(ApiCall { request, client }));
        match timeout(API_TIMEOUT, call).await {
            Ok(Ok(reply)) => ApiReply::try_from(reply.into_inner()).map_err(|error| {
                warn!(%error, "an API call's answer cannot be used");
                ApiUnavailable::Failed
            }),
            Ok(Err(status)) if status.code() == tonic::Code::Unavailable => Err(ApiUnavailable::Away),
            Ok(Err(status)) => {
                warn!(code = %status.code(), message = status.message(), "an API call failed");
                Err(ApiUnavailable::Failed)
            }
            Err(_) => Err(ApiUnavailable::Timeout),
        }
    }
}

impl ApiDoor {
    /// Asks the controlplane's name server; an empty answer is none.
    pub async fn resolve(&self, question: Question) -> Result<Bytes, ApiUnavailable> {
        let mut door = Client::clone(&*self.client.load_full().ok_or(ApiUnavailable::Away)?);
        match door.resolve(wire::ResolveRequest::from(question)).await {
            Ok(answer) => Ok(answer.into_inner().message),
            Err(status) if status.code() == tonic::Code::Unavailable => Err(ApiUnavailable::Away),
            Err(status) => {
                debug!(code = %status.code(), message = status.message(), "a DNS question failed");
                Err(ApiUnavailable::Failed)
            }
        }
    }
}

/// The feed's client.
pub struct FeedClient {
    /// The way to the controlplanes.
    pub link: Link,
    /// This node's name.
    pub node: String,
    /// What takes the batches.
    pub publisher: Publisher,
    /// Opened while there is a connection.
    pub door: ApiDoor,
    /// What the operator wants.
    pub drain: Drain,
    /// Counts.
    pub metrics: Metrics,
    /// The workers' counts, to be reported.
    pub workers: Vec<WorkerMetrics>,
    /// How it sees backends.
    pub sight: Sight,
}

/// How often changes of the backends' health are told of, gathered.
const REPORT: Duration = Duration::from_secs(1);

impl FeedClient {
    /// Holds a stream until the process stops. Losing it changes nothing for traffic.
    pub async fn run(mut self, stop: Stop) -> Result<(), Infallible> {
        let mut backoff = Backoff::default();
        loop {
            let ended = tokio::select! {
                ended = self.stream(&mut backoff) => ended,
                () = stop.begun() => return Ok(()),
            };
            self.metrics.feed_connected.set(0);
            let error = match ended {
                Ok(never) => match never {},
                Err(error) => error,
            };
            let endpoint = self.link.current();
            // Said once, not at every attempt.
            if self.link.is_news(&error.to_string()) {
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

    async fn stream(&mut self, backoff: &mut Backoff) -> Result<Infallible, StreamEnded> {
        let channel = self.link.connect().await?;
        let mut client = Client::new(channel).max_decoding_message_size(API_ANSWER);
        let (outgoing, messages) = mpsc::channel::<wire::NodeMessage>(64);
        self.say(&outgoing, self.hello()).await?;
        let subscribed = timeout(SILENCE, client.subscribe(ReceiverStream::new(messages))).await;
        let mut incoming = subscribed.map_err(|_| StreamEnded::Silent)?.map_err(Box::new)?.into_inner();
        self.door.client.store(Some(Arc::new(client)));
        self.metrics.feed_connected.set(1);
        info!(endpoint = self.link.current(), "connected to the feed");
        self.link.succeeded();
        let (mut collector, mut told, mut answers) = (Collector::default(), Told::default(), Answers::new());
        let mut report = interval(REPORT);
        let mut beat = interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let begun = Instant::now();
        let mut heard = begun;
        let mut unanswered: Option<Unanswered> = None;
        loop {
            tokio::select! {
                message = timeout_at(heard + SILENCE, incoming.message()) => {
                    let message = message.map_err(|_| StreamEnded::Silent)?.map_err(Box::new)?;
                    heard = Instant::now();
                    self.metrics.config_age.confirmed(unix_now());
                    // A stream that ends soon, as when another node has this one's name, is no success.
                    if heard - begun > SILENCE {
                        backoff.succeeded();
                    }
                    let message = message.ok_or(StreamEnded::Ended)?;
                    match self.take(&mut collector, &mut answers, message) {
                        Some(Heard::Batch(batch)) => unanswered = Some(self.answer(batch, &outgoing).await?),
                        Some(Heard::Directive) => self.say(&outgoing, self.status()).await?,
                        None => {}
                    }
                }
                version = kept(&mut unanswered) => {
                    unanswered = None;
                    self.say(&outgoing, FromNode::Ack(version)).await?;
                }
                Some(Ok(answer)) = answers.join_next() => {
                    self.say(&outgoing, FromNode::Explanation(Box::new(answer))).await?;
                }
                _ = report.tick() => for news in told.news(&self.sight.down.load_full()) {
                    self.say(&outgoing, FromNode::Health(news)).await?;
                },
                // A status is a sign of life as good as any.
                _ = beat.tick() => self.say(&outgoing, self.status()).await?,
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
        answers: &mut Answers,
        message: wire::FeedMessage,
    ) -> Option<Heard> {
        let current = self.publisher.current();
        let allowed = collector.allowed_backends(&current);
        let message = match ToNode::read(message, &allowed) {
            ToNode::Directive { drain } => {
                self.drain.obey(drain);
                return Some(Heard::Directive);
            }
            ToNode::Explain { id, host } => {
                // A question too many stays without an answer; whoever asks waits for a while only.
                if answers.len() < explain::AT_ONCE {
                    let sight = self.sight.clone();
                    answers.spawn(sight.explain(current, self.publisher.version(), id, host));
                }
                return None;
            }
            message => message,
        };
        let complete = collector.take(message, &current)?;
        drop(current);
        Some(Heard::Batch(self.publisher.publish(complete)))
    }

    /// Says what of a batch could not be used; it is acknowledged once it is kept.
    async fn answer(
        &self,
        published: Published,
        outgoing: &mpsc::Sender<wire::NodeMessage>,
    ) -> Result<Unanswered, StreamEnded> {
        let Published { version, rejects, kept } = published;
        for (resource, reason) in rejects {
            self.say(outgoing, FromNode::Reject { version, resource, reason }).await?;
        }
        debug!(version, "applied");
        Ok(Unanswered { version, kept, deadline: Instant::now() + KEEP_TIMEOUT })
    }

    async fn say(
        &self,
        outgoing: &mpsc::Sender<wire::NodeMessage>,
        message: FromNode,
    ) -> Result<(), StreamEnded> {
        outgoing.send(message.into()).await.map_err(|_| StreamEnded::Ended)
    }
}

/// What has to be answered.
enum Heard {
    Batch(Published),
    Directive,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_bounded_room_and_give_it_back() {
        let door = ApiDoor::default();
        let all = door.clone().admit(API_BODIES).unwrap();
        assert_eq!(door.admit(1).unwrap_err(), ApiUnavailable::Busy);
        drop(all);
        assert!(door.admit(1).is_ok());
    }
}
