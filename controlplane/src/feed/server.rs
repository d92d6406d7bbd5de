//! The nodes' gRPC service: one task per stream drives its session; API calls are handed on.

mod stream;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use rustls::ServerConfig;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};
use webgateway_process::Tasks;
use webgateway_proto::feed::{ApiCall, ApiReply, FeedVersion, FromNode, MAX_BODY, Question, ToNode, wire};

use self::stream::{Stream, StreamEndError};
use super::catalog::Catalog;
use super::diff::Batch;
use super::enrolment::{self, Enrolment, peer};
use super::listeners::{FeedAcceptor, Listeners};
use super::members::{Members, Membership};
use super::nodes::{Connected, Nodes};
use super::peer::Peer;
use super::questions::{Questions, questions};
use super::session::Session;
use crate::domain::GatewayListeners;
use crate::store::history::NodePosition;

/// The largest message taken from a node: an API call with its body and head.
const MAX_MESSAGE: usize = MAX_BODY + 256 * 1024;
/// The most messages that wait for a node that reads slowly.
const QUEUE: usize = 256;
/// The most streams and calls that one connection may have at once.
const MAX_STREAMS: u32 = 1024;
/// The time that open connections have to end when the process stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Answers an API call that came through a node.
pub(crate) type CallHandler =
    Arc<dyn Fn(ApiCall) -> Pin<Box<dyn Future<Output = ApiReply> + Send>> + Send + Sync>;

/// Answers a DNS message that came through a node, if it deserves an answer.
pub(crate) type QuestionHandler =
    Arc<dyn Fn(Question) -> Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>> + Send + Sync>;

/// The time limits of a node's connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    /// The interval between two heartbeats.
    pub heartbeat: Duration,
    /// The time after which a node that says nothing is dropped.
    pub silence: Duration,
    /// The time within which a connection must begin, and say Hello.
    pub hello: Duration,
    /// The time within which an API call is answered.
    pub call: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { heartbeat: seconds(5), silence: seconds(15), hello: seconds(5), call: seconds(30) }
    }
}

/// The feed's service and what it needs.
#[derive(Clone)]
pub(crate) struct FeedService {
    /// The resources that the nodes are to hold.
    pub catalog: watch::Receiver<Catalog>,
    /// The list of connected nodes.
    pub nodes: Nodes,
    /// The listeners of the gateway; nodes say theirs.
    pub listeners: GatewayListeners,
    /// The list of those that may be a node.
    pub members: Members,
    /// Answers API calls.
    pub calls: CallHandler,
    /// Answers DNS questions.
    pub questions: QuestionHandler,
    /// Runs the streams' tasks.
    pub tasks: Tasks,
    /// The time limits of a node's connection.
    pub timeouts: Timeouts,
    /// Connections and messages that no node sends.
    pub garbage: Counter,
}

/// The parts that remote nodes need.
pub(crate) struct Remote {
    /// How TLS is spoken with them.
    pub tls: Arc<ServerConfig>,
    /// How they come to their certificates.
    pub enrolment: Enrolment,
}

/// A node that said who it is.
struct Known {
    connected: Connected,
    standing: Membership,
    held: Option<FeedVersion>,
}

type Outbound = mpsc::Sender<Result<wire::FeedMessage, Status>>;
type Sending = Pin<Box<dyn Future<Output = ()> + Send>>;

impl FeedService {
    /// Serves the nodes that come in by `listeners` until the process stops; remote nodes need `remote`.
    pub(crate) async fn serve(
        self,
        listeners: Listeners,
        remote: Option<Remote>,
    ) -> Result<(), tonic::transport::Error> {
        let stop = self.tasks.stop().clone();
        let (tls, enrolment) = remote.map(|remote| (remote.tls, remote.enrolment)).unzip();
        let acceptor = FeedAcceptor {
            tls,
            members: self.members.clone(),
            limit: self.timeouts.hello,
            garbage: self.garbage.clone(),
            tasks: self.tasks.clone(),
        };
        let incoming = listeners.incoming(&acceptor);
        let (heartbeat, silence) = (self.timeouts.heartbeat, self.timeouts.silence);
        let service = wire::feed_server::FeedServer::new(self).max_decoding_message_size(MAX_MESSAGE);
        let enrolment = enrolment.map(|enrolment| {
            let service = wire::enrolment_server::EnrolmentServer::new(enrolment);
            service.max_decoding_message_size(enrolment::MAX_MESSAGE)
        });
        let begun = stop.clone();
        let served = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(heartbeat))
            .http2_keepalive_timeout(Some(silence.saturating_sub(heartbeat)))
            .max_concurrent_streams(MAX_STREAMS)
            .add_service(service)
            .add_optional_service(enrolment)
            .serve_with_incoming_shutdown(incoming, async move { begun.begun().await });
        // Who does not read never ends its connection.
        tokio::select! {
            served = served => served,
            () = stop.begun_for(SHUTDOWN_GRACE) => Ok(()),
        }
    }

    /// Returns the peer of a request, if it may ask.
    fn admit<T>(&self, request: &Request<T>) -> Result<Peer, Status> {
        let peer = peer(request)?;
        match self.members.admit(&peer) {
            Ok(_) => Ok(peer),
            Err(refused) => {
                debug!(from = %peer, reason = %refused, "somebody is not let in");
                Err((&refused).into())
            }
        }
    }

    async fn serve_stream(self, peer: Peer, inbound: Streaming<wire::NodeMessage>, outbound: Outbound) {
        let mut stream = Stream::new(inbound, self.timeouts.silence);
        let ended = match self.handshake(peer, &mut stream).await {
            Ok(mut known) => {
                let Err(ended) = self.drive(&mut known, &mut stream, &outbound).await;
                info!(node = known.connected.name(), reason = %ended, "a node's stream ended");
                ended
            }
            Err(ended) => {
                debug!(reason = %ended, "a stream ended before it was a node's");
                ended
            }
        };
        if ended.is_garbage() {
            self.garbage.inc();
        }
        if let Some(status) = ended.status() {
            // The node may be gone, or not reading: it is told if that costs nothing.
            let _ = outbound.try_send(Err(status));
        }
    }

    async fn handshake(&self, peer: Peer, stream: &mut Stream) -> Result<Known, StreamEndError> {
        let first =
            timeout(self.timeouts.hello, stream.next()).await.map_err(|_| StreamEndError::NoHello)??;
        let FromNode::Hello { node, build, held } = first else { return Err(StreamEndError::NoHello) };
        let standing = Membership::new(&self.members, peer, &node)?;
        Ok(Known { connected: self.nodes.connect(&node, &build, &peer)?, standing, held })
    }

    async fn drive(
        &self,
        known: &mut Known,
        stream: &mut Stream,
        outbound: &Outbound,
    ) -> Result<Infallible, StreamEndError> {
        let (asker, mut questions) = questions();
        known.connected.listens(asker);
        let Known { connected, standing, held } = known;
        let mut catalog = self.catalog.clone();
        warn_if_ahead(&catalog.borrow(), connected.name(), held.as_ref());
        let mut session = Session::new(held.take());
        let mut sending: Option<Sending> = None;
        let mut heartbeat = interval(self.timeouts.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Some(drain) = standing.untold()?
                && outbound.try_send(Ok(ToNode::Directive { drain }.write())).is_ok()
            {
                standing.told(drain);
            }
            if sending.is_none() {
                let batch = session.next(&catalog.borrow_and_update());
                sending = batch.map(|batch| send(batch, outbound.clone()));
            }
            tokio::select! {
                message = stream.next() => match message? {
                    FromNode::Listeners(listeners) => self.listeners.learn(connected.name(), listeners),
                    message => handle_message(message, &mut session, connected, &mut questions)?,
                },
                // A node that reads so slowly does not answer in time.
                question = questions.next() => drop(outbound.try_send(Ok(question.write()))),
                () = finish(&mut sending) => sending = None,
                changed = catalog.changed() => changed.map_err(|_| StreamEndError::Stopping)?,
                // A full queue says by itself that we live.
                _ = heartbeat.tick() => drop(outbound.try_send(Ok(ToNode::Heartbeat.write()))),
                () = standing.changed() => {}
                () = outbound.closed() => return Err(StreamEndError::Closed),
                () = connected.replaced() => return Err(StreamEndError::Replaced),
                () = self.tasks.stop().begun() => return Err(StreamEndError::Stopping),
            }
        }
    }
}

/// Warns the operator of a node that holds more than the database has.
fn warn_if_ahead(catalog: &Catalog, node: &str, held: Option<&FeedVersion>) {
    let Some(held) = held else { return };
    if let NodePosition::Ahead { last } = catalog.position(held) {
        let knows = held.version;
        warn!(
            node,
            knows,
            last,
            "the database went back in time, as when an older backup is restored: \
            the node gets everything anew, what was changed since the backup is lost"
        );
    }
}

fn handle_message(
    message: FromNode,
    session: &mut Session,
    connected: &Connected,
    questions: &mut Questions,
) -> Result<(), StreamEndError> {
    match message {
        FromNode::Hello { .. } => return Err(StreamEndError::SecondHello),
        FromNode::Ack(version) => {
            session.ack(version)?;
            connected.progressed(session);
        }
        FromNode::Reject { version, resource, reason } => {
            warn!(node = connected.name(), version, resource, reason, "a node cannot use a resource");
            session.reject(resource, &reason);
            connected.progressed(session);
        }
        FromNode::Status { connections, requests, draining } => {
            connected.reported(connections, requests, draining);
        }
        FromNode::Health(changed) => connected.sees(changed),
        FromNode::Explanation(explanation) => questions.answered(*explanation),
        FromNode::Heartbeat | FromNode::Listeners(_) | FromNode::Unknown => {}
    }
    Ok(())
}

fn send(batch: Batch, outbound: Outbound) -> Sending {
    Box::pin(async move {
        for message in batch.messages() {
            if outbound.send(Ok(message.write())).await.is_err() {
                return;
            }
        }
    })
}

async fn finish(sending: &mut Option<Sending>) {
    match sending {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}

#[tonic::async_trait]
impl wire::feed_server::Feed for FeedService {
    type SubscribeStream = ReceiverStream<Result<wire::FeedMessage, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<wire::NodeMessage>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let peer = self.admit(&request)?;
        let (outbound, queue) = mpsc::channel(QUEUE);
        self.tasks.spawn("feed stream", self.clone().serve_stream(peer, request.into_inner(), outbound));
        Ok(Response::new(ReceiverStream::new(queue)))
    }

    async fn resolve(
        &self,
        request: Request<wire::ResolveRequest>,
    ) -> Result<Response<wire::ResolveResponse>, Status> {
        self.admit(&request)?;
        let question = Question::try_from(request.into_inner()).map_err(|error| {
            self.garbage.inc();
            Status::invalid_argument(error.to_string())
        })?;
        let message = (self.questions)(question).await.unwrap_or_default().into();
        Ok(Response::new(wire::ResolveResponse { message }))
    }

    async fn call(
        &self,
        request: Request<wire::CallRequest>,
    ) -> Result<Response<wire::CallResponse>, Status> {
        self.admit(&request)?;
        let call = ApiCall::try_from(request.into_inner()).map_err(|error| {
            self.garbage.inc();
            Status::invalid_argument(error.to_string())
        })?;
        let reply = timeout(self.timeouts.call, (self.calls)(call)).await;
        let reply = reply.map_err(|_| Status::deadline_exceeded("the API did not answer in time"))?;
        Ok(Response::new(reply.into()))
    }
}

#[cfg(test)]
pub(crate) mod sample_node;
#[cfg(test)]
mod tests;
