//! The figures of both processes at one moment.

use std::fmt;

use anyhow::{Context, Result};
use webgateway_tests::process::Process;

const MIB: f64 = 1024.0 * 1024.0;

/// The figures of one process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ProcessFigures {
    /// Resident memory, in bytes.
    pub(crate) memory: u64,
    /// Open files.
    pub(crate) descriptors: u64,
    /// Tasks of its runtimes.
    pub(crate) tasks: u64,
    /// Open connections of clients.
    pub(crate) connections: u64,
}

/// The figures of both processes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    /// The figures of the dataplane.
    pub(crate) dataplane: ProcessFigures,
    /// The figures of the controlplane; `None` while it is down.
    pub(crate) controlplane: Option<ProcessFigures>,
}

impl ProcessFigures {
    /// Reads the figures; `connections` is the name of the metric of open connections.
    pub(crate) fn read(process: &Process, metrics: &str, connections: &str) -> Result<Self> {
        Ok(Self {
            memory: process.memory()?.now,
            descriptors: process.open_files()? as u64,
            tasks: sum(metrics, "webgateway_tasks")?,
            connections: sum(metrics, connections)?,
        })
    }

    /// Returns true if both have the same figures, except memory.
    pub(crate) fn counts_as(&self, other: &Self) -> bool {
        Self { memory: 0, ..*self } == Self { memory: 0, ..*other }
    }

    fn raise(&mut self, other: &Self) {
        self.memory = self.memory.max(other.memory);
        self.descriptors = self.descriptors.max(other.descriptors);
        self.tasks = self.tasks.max(other.tasks);
        self.connections = self.connections.max(other.connections);
    }
}

impl Figures {
    /// Raises each figure to the other's if that is larger.
    pub(crate) fn raise(&mut self, other: &Self) {
        self.dataplane.raise(&other.dataplane);
        if let Some(other) = &other.controlplane {
            self.controlplane.get_or_insert_default().raise(other);
        }
    }

    /// Returns true if there are no connections.
    pub(crate) fn is_idle(&self) -> bool {
        self.dataplane.connections == 0 && self.controlplane.is_some_and(|held| held.connections == 0)
    }

    /// Returns true if both have the same figures, except memory.
    pub(crate) fn counts_as(&self, other: &Self) -> bool {
        let same = |(a, b): (ProcessFigures, ProcessFigures)| a.counts_as(&b);
        same((self.dataplane, other.dataplane)) && self.controlplane.zip(other.controlplane).is_some_and(same)
    }
}

impl fmt::Display for ProcessFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory, descriptors, tasks, connections } = self;
        let memory = *memory as f64 / MIB;
        write!(f, "{memory:>6.1} MiB {descriptors:>5} files {tasks:>5} tasks {connections:>5} connections")
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dataplane {}", self.dataplane)?;
        match &self.controlplane {
            Some(held) => write!(f, " | controlplane {held}"),
            None => f.write_str(" | no controlplane"),
        }
    }
}

/// Returns the sum of a metric over its labels.
pub(crate) fn sum(metrics: &str, name: &str) -> Result<u64> {
    let of = |line: &str| {
        let (metric, value) = line.rsplit_once(' ')?;
        (metric.split('{').next() == Some(name)).then(|| value.parse::<u64>().ok()).flatten()
    };
    let values: Vec<u64> = metrics.lines().filter_map(of).collect();
    values.iter().copied().reduce(|a, b| a + b).with_context(|| format!("no metric {name}"))
}
