//! The signals SIGTERM and SIGINT: the first one begins a graceful stop, the second one cuts it short.

use std::convert::Infallible;
use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::Tasks;

/// Begins a graceful stop on SIGTERM or SIGINT, and cuts it short on the second one.
pub fn watch(tasks: &Tasks) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, background) = (tasks.stop().clone(), tasks.clone());
    tasks.essential("signals", async move {
        tokio::select! {
            _ = terminate.recv() => info!(signal = "SIGTERM", "signal received"),
            _ = interrupt.recv() => info!(signal = "SIGINT", "signal received"),
            () = stop.begun() => {}
        }
        stop.begin();
        crate::notify::stopping();
        // A background task, because the stop waits for all others.
        background.background("second signal", async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stop.cut();
        });
        Ok::<(), Infallible>(())
    });
    Ok(())
}
