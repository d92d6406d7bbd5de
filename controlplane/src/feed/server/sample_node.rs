//! A node for tests: a gRPC client over a real unix socket.

use std::path::Path;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use webgateway_proto::feed::wire::feed_client::FeedClient;
use webgateway_proto::feed::{FromNode, Held, ToNode, wire};
use webgateway_proto::model::Prefixes;

/// The time limit of any operation in tests.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// Connects a client to the feed at `path`.
pub(crate) async fn client(path: &Path) -> FeedClient<Channel> {
    let path = path.to_owned();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://feed").connect_with_connector(connector).await.unwrap();
    FeedClient::new(channel)
}

/// The stream of one node.
pub(crate) struct Node {
    pub(crate) outbound: mpsc::Sender<wire::NodeMessage>,
    inbound: Streaming<wire::FeedMessage>,
}

impl Node {
    pub(crate) async fn connect(path: &Path, name: &str, held: Option<Held>) -> Self {
        let node = Self::connect_without_hello(path).await;
        node.send(FromNode::Hello { node: name.into(), build: "test".into(), held }).await;
        node
    }

    pub(crate) async fn connect_without_hello(path: &Path) -> Self {
        let (outbound, queue) = mpsc::channel(16);
        let inbound = client(path).await.subscribe(ReceiverStream::new(queue)).await.unwrap().into_inner();
        Self { outbound, inbound }
    }

    pub(crate) async fn send(&self, message: FromNode) {
        self.outbound.send(message.into()).await.unwrap();
    }

    pub(crate) async fn receive(&mut self) -> Result<ToNode, Status> {
        loop {
            let message = timeout(LIMIT, self.inbound.message()).await.expect("in time")?;
            let message = message.ok_or_else(|| Status::ok("the end"))?;
            match ToNode::read(message, &Prefixes::default()) {
                ToNode::Heartbeat | ToNode::Directive { .. } | ToNode::Explain { .. } => {}
                message => return Ok(message),
            }
        }
    }

    /// Receives one batch: true if it is full, the names that it puts (`+`) and removes (`-`), and its version.
    pub(crate) async fn batch(&mut self) -> (bool, Vec<String>, u64) {
        let Ok(ToNode::Begin { full }) = self.receive().await else { panic!("no batch") };
        let mut received = Vec::new();
        loop {
            match self.receive().await.unwrap() {
                ToNode::Put(resource) => received.push(format!("+{}", resource.name())),
                ToNode::Remove { name, .. } => received.push(format!("-{name}")),
                ToNode::End(held) => return (full, received, held.version),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Receives and acknowledges one batch. Returns the names that it puts (`+`) and removes (`-`).
    pub(crate) async fn batch_and_ack(&mut self) -> Vec<String> {
        let (_, received, version) = self.batch().await;
        self.send(FromNode::Ack(version)).await;
        received
    }
}
