//! A node's end of a real controlplane's feed: takes batches, holds nothing, and answers when a story wants it to.

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
use webgateway_proto::feed::{FeedVersion, FromNode, wire};

/// What gRPC puts before each message, in bytes.
const HEAD: usize = 5;

/// One node's stream.
#[derive(Debug)]
pub struct FeedNode {
    incoming: Streaming<wire::FeedMessage>,
    outgoing: mpsc::Sender<wire::NodeMessage>,
}

/// A batch that came whole.
#[derive(Debug, Clone)]
pub struct Batch {
    /// What it leads to.
    pub held: FeedVersion,
    /// Whether it named everything there is.
    pub full: bool,
    /// How many resources it put or removed.
    pub changes: usize,
    /// The bytes of its messages, heartbeats between them included.
    pub bytes: usize,
}

impl FeedNode {
    /// Comes to the socket of a controlplane and says who it is and what it holds.
    pub async fn connect(feed: &Path, name: &str, held: Option<FeedVersion>) -> Result<Self> {
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

    /// The next batch, to its end. If this is dropped on the way, what was read of it is lost.
    pub async fn batch(&mut self) -> Result<Batch> {
        let (mut full, mut changes, mut bytes) = (false, 0, 0);
        loop {
            let message = self.incoming.message().await?.context("the controlplane ended the stream")?;
            bytes += message.encoded_len() + HEAD;
            match message.message {
                Some(Message::Begin(begin)) => full = begin.kind() == wire::begin::Kind::Full,
                Some(Message::Put(_) | Message::Remove(_)) => changes += 1,
                Some(Message::End(end)) => {
                    let held = FeedVersion { epoch: end.epoch, version: end.version };
                    return Ok(Batch { held, full, changes, bytes });
                }
                _ => {}
            }
        }
    }

    /// Says something.
    pub async fn say(&self, message: FromNode) -> Result<()> {
        Ok(self.outgoing.send(message.into()).await?)
    }

    /// Says that a batch is in use.
    pub async fn acknowledge(&self, batch: &Batch) -> Result<()> {
        self.say(FromNode::Ack(batch.held.version)).await
    }
}
