//! The table of the measurements.

use std::fmt::Write as _;
use std::time::Duration;

use webgateway_tests::process::Memory;
use webgateway_tests::quantiles::{millis, quantiles};

use crate::deployment::MemoryUsage;

const MIB: f64 = 1024.0 * 1024.0;

/// The measurements of one run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The memory without routes.
    pub(crate) empty: MemoryUsage,
    /// The time from the controlplane's start to its first response.
    pub(crate) start: Duration,
    /// The time from the dataplane's start until it is ready.
    pub(crate) full_sync: Duration,
    /// The duration of a full sync of a node that only reads.
    pub(crate) read_all: Duration,
    /// The size of that full sync, in bytes.
    pub(crate) full_bytes: usize,
    /// The memory with all routes.
    pub(crate) full: MemoryUsage,
    /// The response time of each `routes.create`.
    pub(crate) answers: Vec<Duration>,
    /// The time from each response until all nodes had the change.
    pub(crate) propagation: Vec<Duration>,
    /// The size of one change for one node, in bytes.
    pub(crate) change_bytes: usize,
    /// The mean time that the dataplane took to apply a change.
    pub(crate) apply: Duration,
    /// The memory at the end.
    pub(crate) busy: MemoryUsage,
}

impl Report {
    /// Returns a table of names and values.
    pub(crate) fn table(&self, nodes: usize, routes: u64) -> String {
        let mut table = String::new();
        let mut row = |what: &str, value: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(table, "| {what:<52} | {value:>36} |");
        };
        row("nodes played, routes, changes", format!("{nodes}, {routes}, {}", self.propagation.len()));
        row("routes create → its answer, p50 / p99 / max", quantiles(&self.answers));
        row("answer → applied on all nodes, p50 / p99 / max", quantiles(&self.propagation));
        row("one change applied by the dataplane, mean", format!("{:.3} ms", millis(self.apply)));
        row("bytes of one change, for one node", self.change_bytes.to_string());
        row("controlplane: start to first answer", seconds(self.start));
        row("dataplane: start to ready, with a cold full sync", seconds(self.full_sync));
        row("full sync, read alone", seconds(self.read_all));
        let each = self.full_bytes as f64 / routes.max(1) as f64;
        row("bytes of a full sync", format!("{:.1} MiB, {each:.0} B/route", self.full_bytes as f64 / MIB));
        for (who, of) in SIDES {
            let [empty, full, busy] = [of(&self.empty), of(&self.full), of(&self.busy)];
            let each = full.now.saturating_sub(empty.now) as f64 / routes.max(1) as f64;
            row(&format!("{who}: memory without routes"), mebibytes(empty));
            let text = format!("{}, {each:.0} B/route", mebibytes(full));
            row(&format!("{who}: memory with them (at most)"), text);
            row(&format!("{who}: memory after the changes (at most)"), mebibytes(busy));
        }
        table
    }
}

type Side = (&'static str, fn(&MemoryUsage) -> Memory);
const SIDES: [Side; 2] = [("controlplane", |m| m.controlplane), ("dataplane", |m| m.dataplane)];

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn mebibytes(memory: Memory) -> String {
    format!("{:.0} ({:.0}) MiB", memory.now as f64 / MIB, memory.most as f64 / MIB)
}
