//! Supervised tasks: every task has a name, and when an essential one ends, the process stops and says which.

use std::convert::Infallible;
use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use futures_util::FutureExt;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::{ProcessMetrics, Stop};

/// An essential task ended before it was told to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the task `{name}` ended: {reason}")]
pub struct TaskError {
    /// The task's name.
    pub name: String,
    /// The error that the task returned, or the message of its panic.
    pub reason: String,
}

/// The supervisor of the process's tasks. Clones supervise the same set.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: Stop,
    metrics: ProcessMetrics,
    failed: Arc<Mutex<Option<TaskError>>>,
}

impl Tasks {
    /// Supervises no task yet, and counts panics where nobody looks.
    #[must_use]
    pub fn new(stop: Stop) -> Self {
        Self::with_metrics(stop, ProcessMetrics::default())
    }

    /// Supervises no task yet, and counts panics in `metrics`.
    #[must_use]
    pub fn with_metrics(stop: Stop, metrics: ProcessMetrics) -> Self {
        Self { tracker: TaskTracker::new(), stop, metrics, failed: Arc::default() }
    }

    /// Returns the signal that ends the tasks.
    #[must_use]
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Returns the metrics that both processes have.
    #[must_use]
    pub fn metrics(&self) -> &ProcessMetrics {
        &self.metrics
    }

    /// Runs a task whose end concerns nobody; a panic in it is logged.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.start(self.unconcerned(name, task));
    }

    fn unconcerned(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (cut, metrics) = (self.stop.clone(), self.metrics.clone());
        let task = Box::pin(AssertUnwindSafe(task).catch_unwind());
        async move {
            tokio::select! {
                ended = task => if let Err(panic) = ended {
                    metrics.panicked(name, &*panic);
                },
                () = cut.was_cut() => {}
            }
        }
    }

    /// Runs a task that nobody waits for: it goes on while the others end, until the stop is cut.
    #[expect(clippy::disallowed_methods, reason = "this is the supervisor every other spawn goes through")]
    pub fn background(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.unconcerned(name, task));
    }

    /// Runs a task without which the process is of no use: if it fails, or ends before the stop, the process stops.
    pub fn essential<E: Display>(
        &self,
        name: impl Into<String>,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.start(self.concerned(name.into(), task));
    }

    /// Runs a task that goes on while the others end, until the stop is cut; if it ends before, the process stops.
    #[expect(clippy::disallowed_methods, reason = "this is the supervisor every other spawn goes through")]
    pub fn lasting(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.concerned(name.to_owned(), async {
            task.await;
            Ok::<(), Infallible>(())
        }));
    }

    fn concerned<E: Display>(
        &self,
        name: String,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let mut watch = Watch { name, tasks: self.clone(), is_over: false };
        let task = Box::pin(AssertUnwindSafe(task).catch_unwind());
        async move {
            let tasks = watch.tasks.clone();
            let ended = tokio::select! {
                ended = task => ended,
                () = tasks.stop.was_cut() => return,
            };
            let result = match ended {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(panic) => Err(tasks.metrics.panicked(&watch.name, &*panic)),
            };
            watch.is_over = true;
            tasks.ended(&watch.name, result);
        }
    }

    /// Runs `body` on a thread of its own, as essential as [`Tasks::essential`].
    pub fn thread<E: Display>(
        &self,
        name: String,
        body: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) -> std::io::Result<()> {
        let (done, ended) = oneshot::channel();
        let (metrics, task) = (self.metrics.clone(), name.clone());
        let run = move || {
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| body().map_err(|e| e.to_string())));
            // Nobody waits any more after a cut.
            let _ = done.send(result.unwrap_or_else(|panic| Err(metrics.panicked(&task, &*panic))));
        };
        thread::Builder::new().name(name.clone()).spawn(run)?;
        self.essential(
            name,
            async move { ended.await.unwrap_or_else(|_| Err("its thread died".to_owned())) },
        );
        Ok(())
    }

    /// Waits for the stop, then at most `grace` for every task to end.
    pub async fn run_until_stopped(&self, grace: Duration) -> Result<(), TaskError> {
        self.stop.begun().await;
        info!(tasks = self.tracker.len(), "stopping");
        self.tracker.close();
        tokio::select! {
            () = self.tracker.wait() => {}
            () = self.stop.was_cut() => warn!(tasks = self.tracker.len(), "shutdown cut short"),
            () = tokio::time::sleep(grace) => warn!(tasks = self.tracker.len(), "shutdown grace period expired"),
        }
        self.stop.cut();
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the supervisor every other spawn goes through")]
    fn start(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.tracker.track_future(task));
    }

    fn ended(&self, name: &str, result: Result<(), String>) {
        let reason = match result {
            Ok(()) if self.stop.is_stopping() => return,
            Ok(()) => "it returned before the process was told to stop".to_owned(),
            Err(reason) => reason,
        };
        // The stop comes before the log: nothing that follows can keep it from beginning.
        let failed = TaskError { name: name.to_owned(), reason: reason.clone() };
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failed);
        self.stop.begin();
        error!(task = name, reason, "essential task ended, stopping");
    }
}

/// A guard of an essential task: should its supervision itself end without a result, the process stops.
struct Watch {
    name: String,
    tasks: Tasks,
    is_over: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.is_over && !self.tasks.stop.is_stopping() {
            self.tasks.ended(&self.name, Err("it was dropped".to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn an_essential_task_that_ends_stops_the_process_by_name() {
        let tasks = Tasks::new(Stop::new());
        tasks.essential("feed", async { Err::<(), _>("gone") });
        let failed = tasks.run_until_stopped(GRACE).await.unwrap_err();
        assert_eq!(failed.to_string(), "the task `feed` ended: gone");
    }

    #[tokio::test]
    async fn an_essential_thread_that_panics_stops_the_process() {
        let tasks = Tasks::new(Stop::new());
        tasks.thread("worker 0".into(), || -> Result<(), Infallible> { panic!("ouch") }).unwrap();
        let failed = tasks.run_until_stopped(GRACE).await.unwrap_err();
        assert_eq!(failed.to_string(), "the task `worker 0` ended: it panicked: ouch");
        assert_eq!(tasks.metrics().panics("worker 0"), 1);
    }

    #[tokio::test]
    async fn what_ends_after_the_stop_ended_well() {
        let tasks = Tasks::new(Stop::new());
        let stop = tasks.stop().clone();
        tasks.essential("api", async move {
            stop.begun().await;
            Ok::<(), Infallible>(())
        });
        tasks.spawn("other", async { panic!("logged, no more") });
        tasks.stop().begin();
        assert_eq!(tasks.run_until_stopped(GRACE).await, Ok(()));
        assert_eq!(tasks.metrics().panics("other"), 1);
    }

    #[tokio::test]
    async fn what_runs_in_the_background_is_not_waited_for() {
        let tasks = Tasks::new(Stop::new());
        tasks.background("admin", std::future::pending());
        tasks.stop().begin();
        let ended = tokio::time::timeout(GRACE, tasks.run_until_stopped(Duration::from_secs(3600))).await;
        assert_eq!(ended, Ok(Ok(())));
    }

    #[tokio::test]
    async fn what_is_to_last_stops_the_process_when_it_ends() {
        let tasks = Tasks::new(Stop::new());
        tasks.lasting("admin", async { panic!("ouch") });
        let failed = tasks.run_until_stopped(GRACE).await.unwrap_err();
        assert_eq!(failed.to_string(), "the task `admin` ended: it panicked: ouch");
    }

    #[test]
    fn an_essential_task_that_is_dropped_stops_the_process() {
        let tasks = Tasks::new(Stop::new());
        drop(tasks.concerned("feed".to_owned(), std::future::pending::<Result<(), Infallible>>()));
        assert!(tasks.stop().is_stopping());
    }

    #[tokio::test]
    async fn a_cut_ends_what_would_never_end() {
        let tasks = Tasks::new(Stop::new());
        tasks.spawn("stuck", std::future::pending());
        tasks.stop().cut();
        assert_eq!(tasks.run_until_stopped(Duration::from_secs(3600)).await, Ok(()));
    }
}
