//! The loop that runs reconcilers: after changes, at due times, and with backoff after failures.

use std::convert::Infallible;
use std::fmt::Display;
use std::future::{Future, pending};
use std::time::Duration;

use tokio::sync::watch::{self, error::RecvError};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};
use webgateway_process::Stop;

const MIN_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// The minimum interval between the starts of two passes, so that changes in quick succession share one pass.
const MIN_PASS_INTERVAL: Duration = Duration::from_millis(50);

/// A task that brings a part of the system to its desired state. Its passes are idempotent.
pub(crate) trait Reconciler: Send {
    /// The error of a failed pass.
    type Error: Display + Send;

    /// Does everything that is due now. Returns the time until more may be due.
    fn pass(&mut self) -> impl Future<Output = Result<Duration, Self::Error>> + Send;

    /// Runs longer work between passes. Returns when another pass may have something to do. The future is dropped when
    /// another event starts a pass, and is created again after that pass.
    fn run_background_work(&mut self) -> impl Future<Output = ()> + Send {
        pending()
    }
}

/// Runs passes until the process stops: immediately, after every change of `changes`, when the time that a pass
/// returned has elapsed, when [`Reconciler::run_background_work`] returns, and after a failure with exponential
/// backoff.
pub(crate) async fn run<R: Reconciler>(
    name: &'static str,
    mut reconciler: R,
    mut changes: watch::Receiver<u64>,
    stop: Stop,
) -> Result<(), Infallible> {
    let mut backoff = MIN_BACKOFF;
    loop {
        changes.mark_unchanged();
        let began = Instant::now();
        let pause = match reconciler.pass().await {
            Ok(pause) => {
                if backoff != MIN_BACKOFF {
                    info!(reconciler = name, "reconciler recovered");
                }
                backoff = MIN_BACKOFF;
                pause
            }
            Err(error) => {
                warn!(reconciler = name, %error, retry = ?backoff, "reconciler failed, retrying");
                let pause = backoff;
                backoff = (backoff * 2).min(MAX_BACKOFF);
                pause
            }
        };
        tokio::select! {
            changed = wait_for_change(&mut changes, began + MIN_PASS_INTERVAL) => if changed.is_err() { return Ok(()) },
            () = sleep_until(Instant::now() + pause) => {}
            () = reconciler.run_background_work() => {}
            () = stop.begun() => return Ok(()),
        }
    }
}

/// Waits for a change, and at least until `earliest`.
async fn wait_for_change(changes: &mut watch::Receiver<u64>, earliest: Instant) -> Result<(), RecvError> {
    changes.changed().await?;
    sleep_until(earliest).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    struct Probe {
        passes: mpsc::UnboundedSender<Instant>,
        results: Vec<Result<Duration, &'static str>>,
    }

    impl Reconciler for Probe {
        type Error = &'static str;

        async fn pass(&mut self) -> Result<Duration, &'static str> {
            self.passes.send(Instant::now()).unwrap();
            self.results.pop().unwrap_or(Ok(Duration::from_secs(3600)))
        }
    }

    #[tokio::test]
    async fn passes_run_when_due_after_failures_and_after_changes() {
        let (passes, mut pass_times) = mpsc::unbounded_channel();
        let results = vec![Err("no"), Ok(Duration::from_millis(20))];
        let (change, changes) = watch::channel(0);
        let tasks = webgateway_process::Tasks::new(Stop::new());
        let run = run("probe", Probe { passes, results }, changes, tasks.stop().clone());
        tasks.essential("probe", run);
        let mut at = async || pass_times.recv().await.unwrap();
        let (first, by_time, after_failure) = (at().await, at().await, at().await);
        assert!(by_time - first >= Duration::from_millis(20));
        assert!(after_failure - by_time >= MIN_BACKOFF);
        change.send_replace(1);
        assert!(at().await - after_failure < Duration::from_secs(3600));
        tasks.stop().begin();
        tasks.run_until_stopped(Duration::from_secs(10)).await.unwrap();
    }
}
