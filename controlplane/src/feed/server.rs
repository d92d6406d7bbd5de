//! The gRPC service for nodes. One task per stream drives the stream's session; API calls and DNS messages are passed
//! to their handlers.

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
use webgateway_proto::feed::{
    ApiCall, ApiReply, FeedVersion, FromNode, MAX_BODY, Question, ToNode, TrafficReport, wire,
};

use self::stream::{NodeStream, StreamEndError};
use super::catalog::Catalog;
use super::diff::Batch;
use super::enrolment::{self, Enrolment, peer_of};
use super::explain::{ExplainQueue, explain_channel};
use super::listeners::{FeedAcceptor, FeedListeners};
use super::members::{Members, Membership};
use super::nodes::{NodeConnection, Nodes};
use super::peer::Peer;
use super::session::Session;
use crate::domain::GatewayListeners;
use crate::store::history::NodePosition;
use crate::traffic::TrafficState;

/// The maximum size of a message from a node, in bytes. The largest is an API call with its head and body.
const MAX_MESSAGE: usize = MAX_BODY + 256 * 1024;
/// The maximum number of messages that wait to be sent on one stream.
const QUEUE: usize = 256;
/// The maximum number of concurrent HTTP/2 streams of one connection.
const MAX_STREAMS: u32 = 1024;
/// The time that open connections have to end after the process began to stop.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// A handler of API calls that nodes forward.
pub(crate) type CallHandler =
    Arc<dyn Fn(ApiCall) -> Pin<Box<dyn Future<Output = ApiReply> + Send>> + Send + Sync>;

/// A handler of DNS messages that nodes forward. Returns `None` if the message is to be dropped.
pub(crate) type DnsHandler =
    Arc<dyn Fn(Question) -> Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>> + Send + Sync>;

/// The time limits of a node's connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    /// The interval between two heartbeats.
    pub heartbeat: Duration,
    /// The time after which a stream without messages from the node is closed.
    pub idle: Duration,
    /// The time limit of the TLS handshake, of the HTTP/2 preface, and of Hello, each.
    pub hello: Duration,
    /// The time limit of an API call.
    pub call: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { heartbeat: seconds(5), idle: seconds(15), hello: seconds(5), call: seconds(30) }
    }
}

/// The gRPC service of the feed.
#[derive(Clone)]
pub(crate) struct FeedService {
    /// The resources that nodes must have.
    pub catalog: watch::Receiver<Catalog>,
    /// The list of connected nodes.
    pub nodes: Nodes,
    /// The known listeners of the gateway, to which nodes report theirs.
    pub listeners: GatewayListeners,
    /// The list of nodes that may connect.
    pub members: Members,
    /// The traffic that nodes report.
    pub traffic: TrafficState,
    /// The handler of API calls.
    pub api: CallHandler,
    /// The handler of DNS messages.
    pub dns: DnsHandler,
    /// The task group of the streams.
    pub tasks: Tasks,
    /// The time limits of a node's connection.
    pub timeouts: Timeouts,
    /// The number of connections, streams and calls that violate the protocol.
    pub protocol_errors: Counter,
}

/// The parts of the service that only remote nodes need.
pub(crate) struct RemoteAccess {
    /// The TLS configuration.
    pub tls: Arc<ServerConfig>,
    /// The service that issues their certificates.
    pub enrolment: Enrolment,
}

/// A node that has sent Hello and was admitted.
struct ConnectedNode {
    connection: NodeConnection,
    membership: Membership,
    held: Option<FeedVersion>,
}

type Outbound = mpsc::Sender<Result<wire::FeedMessage, Status>>;
type BatchSend = Pin<Box<dyn Future<Output = ()> + Send>>;

impl FeedService {
    /// Serves the nodes that connect to `listeners` until the process stops. Remote nodes are refused without `remote`.
    pub(crate) async fn serve(
        self,
        listeners: FeedListeners,
        remote: Option<RemoteAccess>,
    ) -> Result<(), tonic::transport::Error> {
        let stop = self.tasks.stop().clone();
        let (tls, enrolment) = remote.map(|remote| (remote.tls, remote.enrolment)).unzip();
        let acceptor = FeedAcceptor {
            tls,
            members: self.members.clone(),
            limit: self.timeouts.hello,
            protocol_errors: self.protocol_errors.clone(),
            tasks: self.tasks.clone(),
        };
        let incoming = listeners.incoming(&acceptor);
        let (heartbeat, idle) = (self.timeouts.heartbeat, self.timeouts.idle);
        let service = wire::feed_server::FeedServer::new(self).max_decoding_message_size(MAX_MESSAGE);
        let enrolment = enrolment.map(|enrolment| {
            let service = wire::enrolment_server::EnrolmentServer::new(enrolment);
            service.max_decoding_message_size(enrolment::MAX_MESSAGE)
        });
        let begun = stop.clone();
        let served = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(heartbeat))
            .http2_keepalive_timeout(Some(idle.saturating_sub(heartbeat)))
            .max_concurrent_streams(MAX_STREAMS)
            .add_service(service)
            .add_optional_service(enrolment)
            .serve_with_incoming_shutdown(incoming, async move { begun.begun().await });
        // A node that does not read would keep its connection open.
        tokio::select! {
            served = served => served,
            () = stop.begun_for(SHUTDOWN_GRACE) => Ok(()),
        }
    }

    /// Returns the peer of a request. Returns an error if it is not admitted.
    fn admit<T>(&self, request: &Request<T>) -> Result<Peer, Status> {
        let peer = peer_of(request)?;
        match self.members.admit(&peer) {
            Ok(_) => Ok(peer),
            Err(refused) => {
                debug!(from = %peer, reason = %refused, "peer not admitted");
                Err((&refused).into())
            }
        }
    }

    async fn serve_stream(self, peer: Peer, inbound: Streaming<wire::NodeMessage>, outbound: Outbound) {
        let mut stream = NodeStream::new(inbound, self.timeouts.idle);
        let end = match self.handshake(peer, &mut stream).await {
            Ok(mut node) => {
                let Err(end) = self.run_stream(&mut node, &mut stream, &outbound).await;
                info!(node = node.connection.name(), reason = %end, "node disconnected");
                end
            }
            Err(end) => {
                debug!(reason = %end, "stream ended before the node was admitted");
                end
            }
        };
        if end.is_protocol_error() {
            self.protocol_errors.inc();
        }
        if let Some(status) = end.status() {
            // The status is optional: the node may be gone, or not read.
            let _ = outbound.try_send(Err(status));
        }
    }

    async fn handshake(&self, peer: Peer, stream: &mut NodeStream) -> Result<ConnectedNode, StreamEndError> {
        let first =
            timeout(self.timeouts.hello, stream.next()).await.map_err(|_| StreamEndError::NoHello)??;
        let FromNode::Hello { node, build, held } = first else { return Err(StreamEndError::NoHello) };
        let membership = Membership::new(&self.members, peer, &node)?;
        Ok(ConnectedNode { connection: self.nodes.connect(&node, &build, &peer)?, membership, held })
    }

    async fn run_stream(
        &self,
        node: &mut ConnectedNode,
        stream: &mut NodeStream,
        outbound: &Outbound,
    ) -> Result<Infallible, StreamEndError> {
        let (explain_client, mut explain_queue) = explain_channel();
        node.connection.set_explain_client(explain_client);
        let ConnectedNode { connection, membership, held } = node;
        let mut catalog = self.catalog.clone();
        warn_if_ahead(&catalog.borrow(), connection.name(), held.as_ref());
        let mut session = Session::new(held.take());
        let mut follow = self.traffic.followers.subscribe();
        self.traffic.memory.begin_stream(connection.name());
        let mut sending: Option<BatchSend> = None;
        let mut heartbeat = interval(self.timeouts.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Some(drain) = membership.pending_drain()?
                && outbound.try_send(Ok(ToNode::Directive { drain }.write())).is_ok()
            {
                membership.mark_drain_sent(drain);
            }
            if let Some(message) = follow.pending()
                && outbound.try_send(Ok(message.write())).is_ok()
            {
                follow.mark_sent(message);
            }
            if sending.is_none() {
                let batch = session.next(&catalog.borrow_and_update());
                sending = batch.map(|batch| send_batch(batch, outbound.clone()));
            }
            tokio::select! {
                message = stream.next() => match message? {
                    FromNode::Listeners(listeners) => self.listeners.set_node(connection.name(), listeners),
                    FromNode::Traffic(report) => self.count(connection.name(), &report, outbound),
                    FromNode::AccessLines(lines) => self.traffic.followers.push(connection.name(), lines),
                    message => handle_message(message, &mut session, connection, &mut explain_queue)?,
                },
                // If the queue is full, the node would not respond in time anyway.
                request = explain_queue.next() => drop(outbound.try_send(Ok(request.write()))),
                () = wait_sent(&mut sending) => sending = None,
                changed = catalog.changed() => changed.map_err(|_| StreamEndError::Stopping)?,
                // If the queue is full, the node receives other messages.
                _ = heartbeat.tick() => drop(outbound.try_send(Ok(ToNode::Heartbeat.write()))),
                () = membership.changed() => {}
                () = follow.changed() => {}
                () = outbound.closed() => return Err(StreamEndError::Closed),
                () = connection.replaced() => return Err(StreamEndError::Replaced),
                () = self.tasks.stop().begun() => return Err(StreamEndError::Stopping),
            }
        }
    }
}

impl FeedService {
    /// Counts a traffic report and acknowledges it.
    fn count(&self, node: &str, report: &TrafficReport, outbound: &Outbound) {
        if self.traffic.count(node, report) {
            // If the queue is full, the node repeats the report later.
            drop(outbound.try_send(Ok(ToNode::TrafficAck(report.sequence).write())));
        }
    }
}

/// Logs a warning if a node has a later version than the database, as after a restore from an older backup.
fn warn_if_ahead(catalog: &Catalog, node: &str, held: Option<&FeedVersion>) {
    let Some(held) = held else { return };
    if let NodePosition::Ahead { last } = catalog.position(held) {
        let node_version = held.version;
        warn!(
            node,
            node_version,
            last_known_version = last,
            "node is ahead of the database, as after the restore of an older backup: changes since the backup are lost, \
            and the node receives all resources again"
        );
    }
}

fn handle_message(
    message: FromNode,
    session: &mut Session,
    connection: &NodeConnection,
    explain_queue: &mut ExplainQueue,
) -> Result<(), StreamEndError> {
    match message {
        FromNode::Hello { .. } => return Err(StreamEndError::RepeatedHello),
        FromNode::Ack(version) => {
            session.ack(version)?;
            connection.set_progress(session);
        }
        FromNode::Reject { version, resource, reason } => {
            warn!(node = connection.name(), version, resource, reason, "node rejected a resource");
            session.reject(resource, &reason);
            connection.set_progress(session);
        }
        FromNode::Status { connections, requests, draining } => {
            connection.set_status(connections, requests, draining);
        }
        FromNode::Health(changed) => connection.update_backend_health(changed),
        FromNode::Explanation(explanation) => explain_queue.complete(*explanation),
        FromNode::Heartbeat
        | FromNode::Listeners(_)
        | FromNode::Traffic(_)
        | FromNode::AccessLines(_)
        | FromNode::Unknown => {}
    }
    Ok(())
}

fn send_batch(batch: Batch, outbound: Outbound) -> BatchSend {
    Box::pin(async move {
        for message in batch.messages() {
            if outbound.send(Ok(message.write())).await.is_err() {
                return;
            }
        }
    })
}

async fn wait_sent(sending: &mut Option<BatchSend>) {
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
            self.protocol_errors.inc();
            Status::invalid_argument(error.to_string())
        })?;
        let message = (self.dns)(question).await.unwrap_or_default().into();
        Ok(Response::new(wire::ResolveResponse { message }))
    }

    async fn call(
        &self,
        request: Request<wire::CallRequest>,
    ) -> Result<Response<wire::CallResponse>, Status> {
        self.admit(&request)?;
        let call = ApiCall::try_from(request.into_inner()).map_err(|error| {
            self.protocol_errors.inc();
            Status::invalid_argument(error.to_string())
        })?;
        let reply = timeout(self.timeouts.call, (self.api)(call)).await;
        let reply = reply.map_err(|_| Status::deadline_exceeded("the API call took too long"))?;
        Ok(Response::new(reply.into()))
    }
}

#[cfg(test)]
pub(crate) mod sample_node;
#[cfg(test)]
mod tests;
