//! Signals: the first asks to stop, the second cuts.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::Tasks;

/// SIGTERM or SIGINT begins the stop; another one cuts it short.
pub fn watch(tasks: &Tasks) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = tasks.stop().clone();
    tasks.spawn("signals", async move {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM"),
            _ = interrupt.recv() => info!("SIGINT"),
            () = stop.begun() => {}
        }
        stop.begin();
        crate::notify::stopping();
        let patient = stop.clone();
        // Not awaited by the supervisor: it would wait for itself.
        let second = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            patient.cut();
        };
        detach(second);
    });
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "waits for a second signal until the process ends")]
fn detach(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}
