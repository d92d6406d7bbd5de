//! Simulated nodes: gRPC clients that read and acknowledge each batch, and keep nothing.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use webgateway_proto::feed::{FromNode, Held};
use webgateway_tests::feed_node::FeedNode;

const TIMEOUT: Duration = Duration::from_secs(120);
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The first full sync of one node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SyncResult {
    /// The time from the node's hello to the end of the batch.
    pub(crate) took: Duration,
    /// The size of the messages, in bytes.
    pub(crate) bytes: usize,
}

/// All simulated nodes.
#[derive(Default)]
pub(crate) struct Fleet {
    held: Option<Held>,
    reports: Option<mpsc::UnboundedReceiver<AppliedReport>>,
    nodes: usize,
    bytes: usize,
    running: JoinSet<Result<()>>,
}

struct AppliedReport {
    version: u64,
    at: Instant,
    bytes: usize,
}

impl Fleet {
    /// Syncs one node from nothing; the others start at its position.
    pub(crate) async fn sync(&mut self, feed: &Path) -> Result<SyncResult> {
        let begun = Instant::now();
        let mut node = FeedNode::connect(feed, "sim-first", None).await?;
        let batch = node.batch().await?;
        self.held = Some(batch.held);
        Ok(SyncResult { took: begun.elapsed(), bytes: batch.bytes })
    }

    /// Connects `count` nodes, and waits until all are up to date.
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

    /// Waits until all nodes have this version; returns the time from `since` until the last one had it.
    pub(crate) async fn reached(&mut self, version: u64, since: Instant) -> Result<Duration> {
        let reports = self.reports.as_mut().context("nobody has joined yet")?;
        let (mut reached, mut last) = (0, since);
        while reached < self.nodes {
            let report = tokio::select! {
                report = timeout(TIMEOUT, reports.recv()) => report.context("a node does not answer")?.context("none")?,
                Some(ended) = self.running.join_next() => bail!("a node ended: {ended:?}"),
            };
            self.bytes += report.bytes;
            if report.version >= version {
                reached += 1;
                last = last.max(report.at);
            }
        }
        Ok(last.saturating_duration_since(since))
    }

    /// Returns the bytes sent to each node for each of this many changes.
    pub(crate) fn bytes_each(&self, changes: usize) -> usize {
        self.bytes / (self.nodes * changes).max(1)
    }
}

async fn live(
    feed: PathBuf,
    name: String,
    held: Held,
    reports: mpsc::UnboundedSender<AppliedReport>,
) -> Result<()> {
    let mut node = FeedNode::connect(&feed, &name, Some(held)).await?;
    let mut beat = tokio::time::interval(HEARTBEAT);
    loop {
        tokio::select! {
            batch = node.batch() => {
                let batch = batch?;
                node.acknowledge(&batch).await?;
                let report = AppliedReport { version: batch.held.version, at: Instant::now(), bytes: batch.bytes };
                drop(reports.send(report));
            }
            // A batch that this splits still ends with its End, and only that is counted.
            _ = beat.tick() => node.send(FromNode::Heartbeat).await?,
        }
    }
}
