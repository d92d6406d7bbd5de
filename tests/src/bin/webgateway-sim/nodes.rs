//! The nodes that are played: real gRPC clients that take each batch, acknowledge it, and hold nothing.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use webgateway_proto::feed::{FeedVersion, FromNode};
use webgateway_tests::feed_node::FeedNode;

const PATIENCE: Duration = Duration::from_secs(120);
const HEARTBEAT: Duration = Duration::from_secs(5);

/// What one node was sent in one batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    /// From the node's hello to the end.
    pub(crate) took: Duration,
    /// The bytes of its messages.
    pub(crate) bytes: usize,
}

/// Every node that is played.
#[derive(Default)]
pub(crate) struct Fleet {
    held: Option<FeedVersion>,
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

impl Fleet {
    /// One node that begins with nothing; the others begin with what it got.
    pub(crate) async fn sync(&mut self, feed: &Path) -> Result<Taken> {
        let begun = Instant::now();
        let mut node = FeedNode::connect(feed, "sim-first", None).await?;
        let batch = node.batch().await?;
        self.held = Some(batch.held);
        Ok(Taken { took: begun.elapsed(), bytes: batch.bytes })
    }

    /// Lets `count` nodes come, and waits until all are up to date.
    pub(crate) async fn join(&mut self, feed: &Path, count: usize) -> Result<()> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let held = self.held.clone().context("nobody has synced yet")?;
        let version = held.version;
        for n in 0..count {
            let name = format!("sim-{n:05}");
            self.running.spawn(live(feed.to_owned(), name, held.clone(), sender.clone()));
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

async fn live(
    feed: PathBuf,
    name: String,
    held: FeedVersion,
    told: mpsc::UnboundedSender<Told>,
) -> Result<()> {
    let mut node = FeedNode::connect(&feed, &name, Some(held)).await?;
    let mut beat = tokio::time::interval(HEARTBEAT);
    loop {
        tokio::select! {
            batch = node.batch() => {
                let batch = batch?;
                node.acknowledge(&batch).await?;
                let told_now = Told { version: batch.held.version, at: Instant::now(), bytes: batch.bytes };
                drop(told.send(told_now));
            }
            // A batch cut in two by this still ends with its End, which alone counts.
            _ = beat.tick() => node.say(FromNode::Heartbeat).await?,
        }
    }
}
