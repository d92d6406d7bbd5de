//! The reload of the configuration on SIGHUP, which applies the live keys.

use std::convert::Infallible;
use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::Tasks;
use crate::application::Application;
use crate::log;
use crate::settings::{self, Values};

/// Reads the configuration on every SIGHUP and passes it to `apply`, which applies its live keys, or fails without a
/// change. Changed keys, and those that need a restart, are logged. An invalid configuration changes nothing.
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
                Err(error) => {
                    warn!(%error, "configuration reload failed, keeping the previous configuration")
                }
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
    // Everything that can fail comes before the first change.
    log::check_level(level).map_err(|error| error.to_string())?;
    apply(&config).map_err(|error| error.to_string())?;
    log::set_level(level).map_err(|error| error.to_string())?;
    let (changed, others) = values.update(&read.values, A::PROGRAM.keys);
    info!(changed = changed.join(", "), "configuration reloaded");
    if !others.is_empty() {
        warn!(keys = others.join(", "), "changed keys need a restart");
    }
    Ok(())
}
