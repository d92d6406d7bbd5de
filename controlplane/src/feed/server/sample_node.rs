//! A node for the tests: a real client over the real socket.

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
use webgateway_proto::feed::{FeedVersion, FromNode, ToNode, wire};
use webgateway_proto::model::Prefixes;

/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// A client of the feed at `path`.
pub(crate) async fn client(path: &Path) -> FeedClient<Channel> {
    let path = path.to_owned();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://feed").connect_with_connector(connector).await.unwrap();
    FeedClient::new(channel)
}

/// One node's stream.
pub(crate) struct Node {
    pub(crate) outbound: mpsc::Sender<wire::NodeMessage>,
    inbound: Streaming<wire::FeedMessage>,
}

impl Node {
    pub(crate) async fn connect(path: &Path, name: &str, held: Option<FeedVersion>) -> Self {
        let node = Self::silent(path).await;
        node.say(FromNode::Hello { node: name.into(), build: "test".into(), held }).await;
        node
    }

    pub(crate) async fn silent(path: &Path) -> Self {
        let (outbound, queue) = mpsc::channel(16);
        let inbound = client(path).await.subscribe(ReceiverStream::new(queue)).await.unwrap().into_inner();
        Self { outbound, inbound }
    }

    pub(crate) async fn say(&self, message: FromNode) {
        self.outbound.send(message.into()).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> Result<ToNode, Status> {
        loop {
            let message = timeout(LIMIT, self.inbound.message()).await.expect("in time")?;
            let message = message.ok_or_else(|| Status::ok("the end"))?;
            match ToNode::read(message, &Prefixes::default()) {
                ToNode::Heartbeat | ToNode::Directive { .. } | ToNode::Explain { .. } => {}
                message => return Ok(message),
            }
        }
    }

    /// One batch: whether it is full, what it puts and removes, its version.
    pub(crate) async fn batch(&mut self) -> (bool, Vec<String>, u64) {
        let Ok(ToNode::Begin { full }) = self.hear().await else { panic!("no batch") };
        let mut said = Vec::new();
        loop {
            match self.hear().await.unwrap() {
                ToNode::Put(resource) => said.push(format!("+{}", resource.name())),
                ToNode::Remove { name, .. } => said.push(format!("-{name}")),
                ToNode::End(held) => return (full, said, held.version),
                other => panic!("{other:?}"),
            }
        }
    }

    /// One batch, acknowledged: what it puts and removes.
    pub(crate) async fn take(&mut self) -> Vec<String> {
        let (_, said, version) = self.batch().await;
        self.say(FromNode::Ack(version)).await;
        said
    }
}
