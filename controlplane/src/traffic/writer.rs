//! The task that stores the traffic of each hour, and ends access logs that nobody follows any more.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;
use webgateway_process::Stop;

use super::state::TrafficState;
use super::units::{hour_of, unix_micros};
use crate::clock::Clock;
use crate::store::traffic::{TrafficRow, add, prune};
use crate::store::{Store, StoreError, WriteTx};

/// The interval between writes. A controlplane that is killed loses at most this.
const WRITE_INTERVAL: Duration = Duration::from_secs(60);
/// The interval between looks at the followers.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(5);
/// The number of rows in one transaction, so that other writes need not wait for long.
const ROWS_PER_WRITE: usize = 500;
/// The number of hours for which rows are kept: 30 days.
const HOURS: i64 = 720;
/// The maximum number of rows.
const MAX_ROWS: i64 = 1_000_000;

/// The task that stores traffic.
pub(crate) struct TrafficWriter {
    /// The traffic.
    pub traffic: TrafficState,
    /// The database.
    pub store: Store,
    /// The source of the current time.
    pub clock: Clock,
}

impl TrafficWriter {
    /// Stores traffic until the process stops, and once more then.
    pub(crate) async fn run(self, stop: Stop) -> Result<(), Infallible> {
        let (mut writes, mut looks) = (interval(WRITE_INTERVAL), interval(FOLLOW_INTERVAL));
        writes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pruned = None;
        loop {
            tokio::select! {
                _ = writes.tick() => {
                    self.write().await;
                    let hour = hour_of(self.clock.now());
                    if pruned.replace(hour) != Some(hour) {
                        self.prune(hour).await;
                    }
                }
                _ = looks.tick() => self.traffic.followers.expire(unix_micros(self.clock.now())),
                () = stop.begun() => break,
            }
        }
        self.traffic.memory.close();
        self.write().await;
        Ok(())
    }

    async fn write(&self) {
        let mut rows = self.traffic.memory.take_unsaved(self.clock.now());
        while !rows.is_empty() {
            let chunk: Vec<TrafficRow> = rows.split_off(rows.len().saturating_sub(ROWS_PER_WRITE));
            let written = chunk.clone();
            let write = move |tx: &mut WriteTx<'_>| -> Result<(), StoreError> { add(tx, &written) };
            if let Err(error) = self.store.write("traffic", write).await {
                warn!(%error, "traffic cannot be stored, trying again later");
                rows.extend(chunk);
                return self.traffic.memory.put_back(rows);
            }
        }
    }

    async fn prune(&self, hour: i64) {
        let work = move |tx: &mut WriteTx<'_>| prune(tx, hour - HOURS, MAX_ROWS);
        if let Err(error) = self.store.write("traffic pruned", work).await {
            warn!(%error, "old traffic cannot be deleted");
        }
    }
}
