//! The nodes that are played: real gRPC clients that take each batch, acknowledge it, and hold nothing.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use webgateway_proto::feed::wire;
use webgateway_proto::feed::wire::feed_message::Message;
use webgateway_proto::feed::{FromNode, Held};

const PATIENCE: Duration = Duration::from_secs(120);
/// What gRPC puts before each message.
const HEAD: usize = 5;

/// What one node was sent in one batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    /// From the node's hello, or its last batch, to the end of this one.
    pub(crate) took: Duration,
    /// The bytes of its messages.
    pub(crate) bytes: usize,
}

/// Every node that is played.
#[derive(Default)]
pub(crate) struct Fleet {
    held: Option<Held>,
    reports: Option<mpsc::UnboundedReceiver<Told>>,
    nodes: usize,
    bytes: usize,
    running: JoinSet<Result<()>>,
}

struct Told {
    version: u64,
    at: Instant,
    bytes: usize,
}

struct Node {
    incoming: tonic::Streaming<wire::FeedMessage>,
    outgoing: mpsc::Sender<wire::NodeMessage>,
}

impl Fleet {
    /// One node that begins with nothing; the others begin with what it got.
    pub(crate) async fn sync(&mut self, feed: &Path) -> Result<Taken> {
        let begun = Instant::now();
        let mut node = Node::connect(feed, "sim-first", None).await?;
        let (held, bytes) = node.batch().await?;
        let took = begun.elapsed();
        node.say(FromNode::Ack(held.version)).await?;
        self.held = Some(held);
        Ok(Taken { took, bytes })
    }

    /// Lets `count` nodes come, and waits until all are up to date.
    pub(crate) async fn join(&mut self, feed: &Path, count: usize) -> Result<()> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let held = self.held.clone().context("nobody has synced yet")?;
        let version = held.version;
        for n in 0..count {
            let (feed, held, sender) = (feed.to_owned(), held.clone(), sender.clone());
            self.running.spawn(live(feed, format!("sim-{n:05}"), held, sender));
        }
        (self.reports, self.nodes) = (Some(receiver), count);
        self.reached(version, Instant::now()).await?;
        self.bytes = 0;
        Ok(())
    }

    /// Waits until all nodes have this version; how long after `since` the last one had it.
    pub(crate) async fn reached(&mut self, version: u64, since: Instant) -> Result<Duration> {
        let reports = self.reports.as_mut().context("nobody has joined yet")?;
        let (mut reached, mut last) = (0, since);
        while reached < self.nodes {
            let told = tokio::select! {
                told = timeout(PATIENCE, reports.recv()) => told.context("a node does not answer")?.context("none")?,
                Some(ended) = self.running.join_next() => bail!("a node ended: {ended:?}"),
            };
            self.bytes += told.bytes;
            if told.version >= version {
                reached += 1;
                last = last.max(told.at);
            }
        }
        Ok(last.saturating_duration_since(since))
    }

    /// How much was sent to each node for each of so many changes.
    pub(crate) fn bytes_each(&self, changes: usize) -> usize {
        self.bytes / (self.nodes * changes).max(1)
    }
}

async fn live(feed: PathBuf, name: String, held: Held, told: mpsc::UnboundedSender<Told>) -> Result<()> {
    let mut node = Node::connect(&feed, &name, Some(held)).await?;
    let mut beat = tokio::time::interval(Duration::from_secs(5));
    loop {
        tokio::select! {
            batch = node.batch() => {
                let (held, bytes) = batch?;
                drop(told.send(Told { version: held.version, at: Instant::now(), bytes }));
                node.say(FromNode::Ack(held.version)).await?;
            }
            // A batch is so small here that none is cut in two by this.
            _ = beat.tick() => node.say(FromNode::Heartbeat).await?,
        }
    }
}

impl Node {
    async fn connect(feed: &Path, name: &str, held: Option<Held>) -> Result<Self> {
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

    /// The next batch to its end: what it leads to, and its size.
    async fn batch(&mut self) -> Result<(Held, usize)> {
        let mut bytes = 0;
        loop {
            let message = self.incoming.message().await?.context("the controlplane ended the stream")?;
            bytes += message.encoded_len() + HEAD;
            if let Some(Message::End(end)) = message.message {
                return Ok((Held { epoch: end.epoch, version: end.version }, bytes));
            }
        }
    }

    async fn say(&self, message: FromNode) -> Result<()> {
        Ok(self.outgoing.send(message.into()).await?)
    }
}
