//! Signals: the first asks to stop, the second cuts.

use std::convert::Infallible;
use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::Tasks;

/// SIGTERM or SIGINT begins the stop; another one cuts it short.
pub fn watch(tasks: &Tasks) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, background) = (tasks.stop().clone(), tasks.clone());
    tasks.essential("signals", async move {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM"),
            _ = interrupt.recv() => info!("SIGINT"),
            () = stop.begun() => {}
        }
        stop.begin();
        crate::notify::stopping();
        // In the background: the stop waits for what is not.
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
