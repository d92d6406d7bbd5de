//! A simulated node on a real controlplane's feed: it reads batches, keeps nothing, and acknowledges on demand.

use std::path::Path;

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;
use webgateway_proto::feed::wire::feed_message::Message;
use webgateway_proto::feed::{FromNode, Held, wire};

/// The size of gRPC's prefix of each message, in bytes.
const HEAD: usize = 5;

/// The feed stream of one node.
#[derive(Debug)]
pub struct FeedNode {
    incoming: Streaming<wire::FeedMessage>,
    outgoing: mpsc::Sender<wire::NodeMessage>,
}

/// A complete batch.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The position after the batch.
    pub held: Held,
    /// True if the batch is a full sync.
    pub full: bool,
    /// The number of resources that the batch puts or removes.
    pub changes: usize,
    /// The size of the messages, including heartbeats between them, in bytes.
    pub bytes: usize,
}

impl FeedNode {
    /// Connects to the socket of a controlplane and sends a hello with this name and position.
    pub async fn connect(feed: &Path, name: &str, held: Option<Held>) -> Result<Self> {
        let feed = feed.to_owned();
        let dial = tower::service_fn(move |_| {
            let feed = feed.clone();
            async move { UnixStream::connect(feed).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://controlplane").connect_with_connector(dial).await?;
        let mut client = wire::feed_client::FeedClient::new(channel);
        let (outgoing, messages) = mpsc::channel(8);
        let build = env!("CARGO_PKG_VERSION").to_owned();
        outgoing.send(FromNode::Hello { node: name.to_owned(), build, held }.into()).await?;
        let incoming = client.subscribe(ReceiverStream::new(messages)).await?.into_inner();
        Ok(Self { incoming, outgoing })
    }

    /// Reads the next complete batch. Dropping the future loses the part already read.
    pub async fn batch(&mut self) -> Result<Batch> {
        let (mut full, mut changes, mut bytes) = (false, 0, 0);
        loop {
            let message = self.incoming.message().await?.context("the controlplane ended the stream")?;
            bytes += message.encoded_len() + HEAD;
            match message.message {
                Some(Message::Begin(begin)) => full = begin.kind() == wire::begin::Kind::Full,
                Some(Message::Put(_) | Message::Remove(_)) => changes += 1,
                Some(Message::End(end)) => {
                    let held = Held { epoch: end.epoch, version: end.version };
                    return Ok(Batch { held, full, changes, bytes });
                }
                _ => {}
            }
        }
    }

    /// Sends a message.
    pub async fn send(&self, message: FromNode) -> Result<()> {
        Ok(self.outgoing.send(message.into()).await?)
    }

    /// Acknowledges a batch.
    pub async fn acknowledge(&self, batch: &Batch) -> Result<()> {
        self.send(FromNode::Ack(batch.held.version)).await
    }
}
