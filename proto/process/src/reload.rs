//! SIGHUP: the configuration is read anew, and what can change without a restart does.

use std::convert::Infallible;
use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::Tasks;
use crate::application::Application;
use crate::log;
use crate::settings::{self, Values};

/// Reads the configuration on every SIGHUP and hands it to `apply`, which takes what its live keys say, or nothing. The
/// log says which keys changed and which need a restart; a configuration that cannot be used changes nothing.
pub fn watch<A: Application>(
    tasks: &Tasks,
    mut apply: impl FnMut(&A::Config) -> Result<(), A::Error> + Send + 'static,
) -> io::Result<()> {
    let (mut hangup, stop) = (signal(SignalKind::hangup())?, tasks.stop().clone());
    let mut values = settings::read::<A::Settings>(&A::PROGRAM).map(|read| read.values).unwrap_or_default();
    tasks.essential("reload", async move {
        loop {
            tokio::select! {
                _ = hangup.recv() => {}
                () = stop.begun() => return Ok::<(), Infallible>(()),
            }
            match reload::<A>(&mut values, &mut apply) {
                Ok(()) => {}
                Err(error) => warn!(%error, "the configuration cannot be used, the one before stays"),
            }
        }
    });
    Ok(())
}

fn reload<A: Application>(
    values: &mut Values,
    apply: &mut impl FnMut(&A::Config) -> Result<(), A::Error>,
) -> Result<(), String> {
    let read = settings::read::<A::Settings>(&A::PROGRAM).map_err(|error| error.to_string())?;
    let config = A::configure(read.settings).map_err(|error| error.to_string())?;
    let level = A::log_level(&config);
    // All that can fail comes before anything changes.
    log::check_level(level).map_err(|error| error.to_string())?;
    apply(&config).map_err(|error| error.to_string())?;
    log::set_level(level).map_err(|error| error.to_string())?;
    let (changed, others) = values.update(&read.values, A::PROGRAM.keys);
    info!(changed = changed.join(", "), "configuration reloaded");
    if !others.is_empty() {
        warn!(keys = others.join(", "), "these keys changed and hold only after a restart");
    }
    Ok(())
}
