//! The metrics of both processes: failed accepts, panics, and the number of tasks.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::runtime::{Handle, RuntimeMetrics};
use tracing::error;

use crate::log;

/// The prefix of every metric, without the trailing underscore.
pub const PREFIX: &str = "webgateway";

/// Handles to the metrics of both processes. Clones share the counters.
#[derive(Debug, Clone, Default)]
pub struct ProcessMetrics {
    accept_errors: Family<ListenerLabel, Counter>,
    task_panics: Family<TaskLabel, Counter>,
    runtimes: Runtimes,
}

/// The runtimes of the process, whose tasks are counted at every scrape.
#[derive(Debug, Clone, Default)]
struct Runtimes(Arc<Mutex<Vec<RuntimeMetrics>>>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabel {
    listener: &'static str,
}

/// A task's name, which is fixed or numbered by worker, so that the number of labels is bounded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskLabel {
    task: String,
}

impl ProcessMetrics {
    /// Registers the metrics.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let r = registry.sub_registry_with_prefix(PREFIX);
        r.register("accept_errors", "Accepts that failed, by listener", metrics.accept_errors.clone());
        r.register("task_panics", "Tasks that panicked, by name", metrics.task_panics.clone());
        let lines = "Log lines lost: nobody reads them, or not fast enough";
        r.register("log_lines_dropped", lines, log::lines_dropped());
        r.register_collector(Box::new(metrics.runtimes.clone()));
        metrics
    }

    /// Adds the tasks of the current runtime to the count. Has no effect outside of a runtime.
    pub fn count_tasks(&self) {
        if let Ok(runtime) = Handle::try_current() {
            self.runtimes.0.lock().unwrap_or_else(PoisonError::into_inner).push(runtime.metrics());
        }
    }

    /// Returns the counter of a listener's failed accepts.
    #[must_use]
    pub fn accept_errors(&self, listener: &'static str) -> Counter {
        self.accept_errors.get_or_create_owned(&ListenerLabel { listener })
    }

    /// Counts and logs the panic of a task, and returns a description with its message.
    pub(crate) fn panicked(&self, task: &str, panic: &(dyn Any + Send)) -> String {
        let reason = format!("it panicked: {}", log::panic_message(panic));
        self.task_panics.get_or_create(&TaskLabel { task: task.to_owned() }).inc();
        error!(task, reason, "task panicked");
        reason
    }

    /// Returns the number of panics of a task.
    #[cfg(test)]
    pub(crate) fn panics(&self, task: &str) -> u64 {
        self.task_panics.get_or_create(&TaskLabel { task: task.to_owned() }).get()
    }
}

impl Collector for Runtimes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let runtimes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tasks =
            ConstGauge::new(runtimes.iter().map(|runtime| runtime.num_alive_tasks() as u64).sum::<u64>());
        let help = "Tasks there are, of all runtimes";
        tasks.encode(encoder.encode_descriptor("tasks", help, None, tasks.metric_type())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_metric_is_documented() {
        let mut registry = Registry::default();
        let metrics = ProcessMetrics::register(&mut registry);
        metrics.count_tasks();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(std::future::pending::<()>());
        metrics.accept_errors("https").inc();
        metrics.panicked("connection", &"ouch");
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for metric in [
            "webgateway_accept_errors_total{listener=\"https\"} 1",
            "webgateway_task_panics_total{task=\"connection\"} 1",
            "webgateway_log_lines_dropped_total 0",
            "webgateway_tasks 1",
        ] {
            assert!(text.contains(metric), "{text}");
            let name = metric.split(['{', ' ']).next().unwrap();
            assert!(include_str!("../../../deploy/METRICS.md").contains(name), "{name}");
        }
    }
}
