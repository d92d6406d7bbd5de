//! The supervision of named tasks. When an essential task ends, the process stops and reports its name.

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

/// An essential task that ended before the process was to stop.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the task `{name}` ended: {reason}")]
pub struct TaskError {
    /// The task's name.
    pub name: String,
    /// The error that the task returned, or the message of its panic.
    pub reason: String,
}

/// The supervisor of the process's tasks. Clones share the tasks.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: Stop,
    metrics: ProcessMetrics,
    failed: Arc<Mutex<Option<TaskError>>>,
}

impl Tasks {
    /// Makes a supervisor whose metrics are not exported.
    #[must_use]
    pub fn new(stop: Stop) -> Self {
        Self::with_metrics(stop, ProcessMetrics::default())
    }

    /// Makes a supervisor that counts panics in `metrics`.
    #[must_use]
    pub fn with_metrics(stop: Stop, metrics: ProcessMetrics) -> Self {
        Self { tracker: TaskTracker::new(), stop, metrics, failed: Arc::default() }
    }

    /// Returns the stop signal of the tasks.
    #[must_use]
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Returns the metrics of the process.
    #[must_use]
    pub fn metrics(&self) -> &ProcessMetrics {
        &self.metrics
    }

    /// Spawns a task whose end has no effect on others, and for which the graceful stop waits. A panic is logged.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.start(self.supervise_ordinary(name, task));
    }

    fn supervise_ordinary(
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

    /// Spawns a task that the graceful stop does not wait for. It runs until the stop is cut short.
    #[expect(clippy::disallowed_methods, reason = "this is the supervisor every other spawn goes through")]
    pub fn background(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.supervise_ordinary(name, task));
    }

    /// Spawns an essential task. If it fails, or ends before the stop, the process stops.
    pub fn essential<E: Display>(
        &self,
        name: impl Into<String>,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.start(self.supervise_essential(name.into(), task));
    }

    /// Spawns an essential task that runs until the stop is cut short. If it ends earlier, the process stops.
    #[expect(clippy::disallowed_methods, reason = "this is the supervisor every other spawn goes through")]
    pub fn lasting(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.supervise_essential(name.to_owned(), async {
            task.await;
            Ok::<(), Infallible>(())
        }));
    }

    fn supervise_essential<E: Display>(
        &self,
        name: String,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let mut watch = EssentialGuard { name, tasks: self.clone(), is_over: false };
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

    /// Runs `body` on its own thread as an essential task, as with [`Tasks::essential`].
    pub fn thread<E: Display>(
        &self,
        name: String,
        body: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) -> std::io::Result<()> {
        let (done, ended) = oneshot::channel();
        let (metrics, task) = (self.metrics.clone(), name.clone());
        let run = move || {
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| body().map_err(|e| e.to_string())));
            // The receiver is dropped if the stop was cut short.
            let _ = done.send(result.unwrap_or_else(|panic| Err(metrics.panicked(&task, &*panic))));
        };
        thread::Builder::new().name(name.clone()).spawn(run)?;
        self.essential(name, async move {
            ended.await.unwrap_or_else(|_| Err("its thread ended without a result".to_owned()))
        });
        Ok(())
    }

    /// Waits for the stop, and then for at most `grace` until every task has ended. Tasks that are left are cut.
    ///
    /// # Errors
    ///
    /// Returns the first failure of an essential task.
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
        // The stop begins before the failure is logged, so that a failure to log cannot prevent it.
        let failed = TaskError { name: name.to_owned(), reason: reason.clone() };
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failed);
        self.stop.begin();
        error!(task = name, reason, "essential task ended, stopping");
    }
}

/// A guard of an essential task. If the supervising future is dropped without a result, the process stops.
struct EssentialGuard {
    name: String,
    tasks: Tasks,
    is_over: bool,
}

impl Drop for EssentialGuard {
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
    async fn an_essential_task_that_ends_stops_the_process_and_is_named() {
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
    async fn a_task_that_ends_after_the_stop_is_no_failure() {
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
    async fn the_stop_does_not_wait_for_background_tasks() {
        let tasks = Tasks::new(Stop::new());
        tasks.background("admin", std::future::pending());
        tasks.stop().begin();
        let ended = tokio::time::timeout(GRACE, tasks.run_until_stopped(Duration::from_secs(3600))).await;
        assert_eq!(ended, Ok(Ok(())));
    }

    #[tokio::test]
    async fn a_lasting_task_that_ends_stops_the_process() {
        let tasks = Tasks::new(Stop::new());
        tasks.lasting("admin", async { panic!("ouch") });
        let failed = tasks.run_until_stopped(GRACE).await.unwrap_err();
        assert_eq!(failed.to_string(), "the task `admin` ended: it panicked: ouch");
    }

    #[test]
    fn an_essential_task_that_is_dropped_stops_the_process() {
        let tasks = Tasks::new(Stop::new());
        drop(tasks.supervise_essential("feed".to_owned(), std::future::pending::<Result<(), Infallible>>()));
        assert!(tasks.stop().is_stopping());
    }

    #[tokio::test]
    async fn a_stop_that_is_cut_short_ends_stuck_tasks() {
        let tasks = Tasks::new(Stop::new());
        tasks.spawn("stuck", std::future::pending());
        tasks.stop().cut();
        assert_eq!(tasks.run_until_stopped(Duration::from_secs(3600)).await, Ok(()));
    }
}
