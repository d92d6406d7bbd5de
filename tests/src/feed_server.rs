//! A simulated controlplane's feed server that sends the messages of a scenario, valid or not.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;
use webgateway_proto::feed::wire;
use webgateway_proto::feed::wire::feed_server::{Feed, FeedServer as GrpcServer};

use crate::authority::IssuedCertificate;
use crate::feed_file::BASE_DOMAIN;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A running feed server; dropping it ends every stream.
#[derive(Debug)]
pub struct FeedServer {
    path: PathBuf,
    subscriptions: mpsc::Receiver<Subscription>,
    refuses: Arc<AtomicBool>,
    _server: JoinSet<()>,
}

/// The stream of one node, after its Hello.
#[derive(Debug)]
pub struct Subscription {
    /// The node's Hello.
    pub hello: wire::Hello,
    from_node: Streaming<wire::NodeMessage>,
    to_node: mpsc::Sender<Result<wire::FeedMessage, Status>>,
}

impl FeedServer {
    /// Listens on a unix socket.
    pub fn listen(path: &Path) -> Result<Self> {
        let listener = UnixListener::bind(path)?;
        let (accepted, subscriptions) = mpsc::channel(8);
        let refuses = Arc::new(AtomicBool::default());
        let service = FeedService { accepted, refuses: Arc::clone(&refuses) };
        let mut server = JoinSet::new();
        server.spawn(async move {
            let router = tonic::transport::Server::builder().add_service(GrpcServer::new(service));
            drop(router.serve_with_incoming(UnixListenerStream::new(listener)).await);
        });
        Ok(Self { path: path.to_owned(), subscriptions, refuses, _server: server })
    }

    /// Returns the path of the socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses every further stream; calls get responses as before.
    pub fn refuse_streams(&self) {
        self.refuses.store(true, Ordering::SeqCst);
    }

    /// Waits for the next node that subscribes.
    pub async fn next_subscription(&mut self) -> Result<Subscription> {
        let next = timeout(TIMEOUT, self.subscriptions.recv()).await.context("no node subscribes")?;
        next.context("the server is gone")
    }
}

impl Subscription {
    /// Sends messages.
    pub async fn send(&self, messages: impl IntoIterator<Item = wire::feed_message::Message>) -> Result<()> {
        for message in messages {
            self.to_node.send(Ok(wire::FeedMessage { message: Some(message) })).await?;
        }
        Ok(())
    }

    /// Waits for the acknowledgement of a batch; returns the rejected resources and the acknowledged version.
    pub async fn wait_for_ack(&mut self) -> Result<(Vec<wire::Reject>, u64)> {
        let mut rejects = Vec::new();
        loop {
            let message = timeout(TIMEOUT, self.from_node.message()).await.context("no answer")??;
            match message.context("the node left")?.message {
                Some(wire::node_message::Message::Reject(reject)) => rejects.push(reject),
                Some(wire::node_message::Message::Ack(ack)) => return Ok((rejects, ack.version)),
                _ => {}
            }
        }
    }
    /// Waits until the node reports this draining status.
    pub async fn wait_for_draining(&mut self, drains: bool) -> Result<()> {
        loop {
            let message = timeout(TIMEOUT, self.from_node.message()).await.context("no status")??;
            if let Some(wire::node_message::Message::Status(status)) =
                message.context("the node left")?.message
                && status.draining == drains
            {
                return Ok(());
            }
        }
    }
}

struct FeedService {
    accepted: mpsc::Sender<Subscription>,
    refuses: Arc<AtomicBool>,
}

#[tonic::async_trait]
impl Feed for FeedService {
    type SubscribeStream = ReceiverStream<Result<wire::FeedMessage, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<wire::NodeMessage>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(Status::unavailable("the scenario wants no stream"));
        }
        let mut from_node = request.into_inner();
        let first = from_node.message().await?.and_then(|message| message.message);
        let Some(wire::node_message::Message::Hello(hello)) = first else {
            return Err(Status::invalid_argument("no hello"));
        };
        let (to_node, messages) = mpsc::channel(64);
        let subscription = Subscription { hello, from_node, to_node };
        self.accepted.send(subscription).await.map_err(|_| Status::unavailable("the scenario is over"))?;
        Ok(Response::new(ReceiverStream::new(messages)))
    }

    async fn call(&self, _: Request<wire::CallRequest>) -> Result<Response<wire::CallResponse>, Status> {
        Err(Status::unimplemented("no API here"))
    }

    async fn resolve(
        &self,
        _: Request<wire::ResolveRequest>,
    ) -> Result<Response<wire::ResolveResponse>, Status> {
        Err(Status::unimplemented("no DNS here"))
    }
}

/// Returns a `Begin` message.
#[must_use]
pub fn begin(kind: wire::begin::Kind) -> wire::feed_message::Message {
    wire::feed_message::Message::Begin(wire::Begin { kind: kind.into() })
}

/// Returns an `End` message of the epoch `scenario`.
#[must_use]
pub fn end(version: u64) -> wire::feed_message::Message {
    wire::feed_message::Message::End(wire::End { epoch: "scenario".into(), version })
}

/// Returns a `Put` message.
#[must_use]
pub fn put(name: &str, kind: Option<wire::resource::Kind>) -> wire::feed_message::Message {
    let resource = Some(wire::Resource { name: name.to_owned(), kind });
    wire::feed_message::Message::Put(wire::Put { resource })
}

/// Returns a `Remove` message.
#[must_use]
pub fn remove(id: Uuid, at_once: bool) -> wire::feed_message::Message {
    wire::feed_message::Message::Remove(wire::Remove { name: format!("route/{id}"), at_once })
}

/// Returns a `Put` message of a terminated route.
#[must_use]
pub fn route(id: Uuid, host: &str, backend: SocketAddr) -> wire::feed_message::Message {
    route_of(wire::Mode::Terminate, id, host, backend)
}

/// Returns a `Put` message of a passthrough route.
#[must_use]
pub fn passthrough(id: Uuid, host: &str, backend: SocketAddr) -> wire::feed_message::Message {
    route_of(wire::Mode::Passthrough, id, host, backend)
}

fn route_of(mode: wire::Mode, id: Uuid, host: &str, backend: SocketAddr) -> wire::feed_message::Message {
    let route = wire::Route {
        id: id.as_bytes().to_vec().into(),
        host: host.to_owned(),
        mode: mode.into(),
        backends: vec![backend.to_string()],
        ..wire::Route::default()
    };
    put(&format!("route/{id}"), Some(wire::resource::Kind::Route(route)))
}

/// Adds an option that no node knows to a route, as a newer controlplane would.
#[must_use]
pub fn with_required_option(
    option: &str,
    mut route: wire::feed_message::Message,
) -> wire::feed_message::Message {
    if let wire::feed_message::Message::Put(wire::Put { resource: Some(resource) }) = &mut route
        && let Some(wire::resource::Kind::Route(route)) = &mut resource.kind
    {
        route.requires.push(option.to_owned());
    }
    route
}

/// Returns the settings of all scenarios, and a certificate for the base domain and its wildcard.
pub fn base_resources(base: &IssuedCertificate) -> Result<[wire::feed_message::Message; 2]> {
    let settings = wire::Settings {
        base_domain: BASE_DOMAIN.into(),
        allowed_backends: vec!["400::/7".into()],
        listeners: vec![],
    };
    Ok([
        put("settings", Some(wire::resource::Kind::Settings(settings))),
        certificate("*.gw.example", &[BASE_DOMAIN, "*.gw.example"], base)?,
    ])
}

/// Returns a `Put` message of a certificate.
pub fn certificate(
    id: &str,
    names: &[&str],
    issued: &IssuedCertificate,
) -> Result<wire::feed_message::Message> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(issued.chain.as_bytes()).collect();
    let certificate = wire::Certificate {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        chain: chain?.iter().map(|der| der.to_vec().into()).collect(),
        key: PrivateKeyDer::from_pem_slice(issued.key.as_bytes())?.secret_der().to_vec().into(),
    };
    Ok(put(&format!("certificate/{id}"), Some(wire::resource::Kind::Certificate(certificate))))
}
