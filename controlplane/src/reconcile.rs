//! A reconciler: brings the world to what it should be, again and again; wait_for_work by pokes and by time.

use std::convert::Infallible;
use std::fmt::Display;
use std::future::{Future, pending};
use std::time::Duration;

use tokio::sync::watch::{self, error::RecvError};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};
use webgateway_process::Stop;

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);
/// Between the beginnings of two passes at least: pokes that come one after another are seen to together.
const APART: Duration = Duration::from_millis(50);

/// Something that can be brought to what it should be. Doing it twice does it once.
pub(crate) trait Reconciler: Send {
    /// Why a pass failed.
    type Error: Display + Send;

    /// Does all there is to do now; says how long until there may be more.
    fn pass(&mut self) -> impl Future<Output = Result<Duration, Self::Error>> + Send;

    /// Does what takes its time, between passes; ends when another pass may have something to do. Dropped whenever
    /// there is another reason for a pass, and called again after it.
    fn wait_for_work(&mut self) -> impl Future<Output = ()> + Send {
        pending()
    }
}

/// Runs passes until the process stops: at once, after every change of `pokes`, when the time a pass named is over,
/// when the reconciler itself wakes, and, after a failure, again with growing pauses.
pub(crate) async fn run<R: Reconciler>(
    name: &'static str,
    mut reconciler: R,
    mut pokes: watch::Receiver<u64>,
    stop: Stop,
) -> Result<(), Infallible> {
    let mut retry = FIRST_RETRY;
    loop {
        pokes.mark_unchanged();
        let began = Instant::now();
        let pause = match reconciler.pass().await {
            Ok(pause) => {
                if retry != FIRST_RETRY {
                    info!(reconciler = name, "works again");
                }
                retry = FIRST_RETRY;
                pause
            }
            Err(error) => {
                warn!(reconciler = name, %error, retry = ?retry, "failed, trying again");
                let pause = retry;
                retry = (retry * 2).min(LAST_RETRY);
                pause
            }
        };
        tokio::select! {
            changed = poked(&mut pokes, began + APART) => if changed.is_err() { return Ok(()) },
            () = sleep_until(Instant::now() + pause) => {}
            () = reconciler.wait_for_work() => {}
            () = stop.begun() => return Ok(()),
        }
    }
}

/// Waits for a poke, and not less than until `earliest`.
async fn poked(pokes: &mut watch::Receiver<u64>, earliest: Instant) -> Result<(), RecvError> {
    pokes.changed().await?;
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
    async fn wakes_by_time_after_failures_and_by_poke() {
        let (passes, mut passed) = mpsc::unbounded_channel();
        let results = vec![Err("no"), Ok(Duration::from_millis(20))];
        let (poke, pokes) = watch::channel(0);
        let tasks = webgateway_process::Tasks::new(Stop::new());
        let run = run("probe", Probe { passes, results }, pokes, tasks.stop().clone());
        tasks.essential("probe", run);
        let mut at = async || passed.recv().await.unwrap();
        let (first, by_time, after_failure) = (at().await, at().await, at().await);
        assert!(by_time - first >= Duration::from_millis(20));
        assert!(after_failure - by_time >= FIRST_RETRY);
        poke.send_replace(1);
        assert!(at().await - after_failure < Duration::from_secs(3600));
        tasks.stop().begin();
        tasks.run_until_stopped(Duration::from_secs(10)).await.unwrap();
    }
}
