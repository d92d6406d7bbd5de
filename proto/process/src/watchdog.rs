//! The watchdog, which notifies systemd only while every monitored part of the process makes progress.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::error;

use crate::{Tasks, notify};

/// The interval of notifications, unless systemd's watchdog needs a shorter one.
const STATUS: Duration = Duration::from_secs(5);

/// The heartbeat of a monitored part. Dropping it ends the monitoring of the part.
#[derive(Debug)]
pub struct Pulse(Arc<AtomicU64>);

/// The monitored parts of the process.
#[derive(Debug, Default)]
pub struct Watchdog(Vec<Part>);

#[derive(Debug)]
struct Part {
    name: String,
    beats: Weak<AtomicU64>,
    seen: u64,
}

impl Pulse {
    /// Records that the part makes progress.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Watchdog {
    /// Adds a part, which must beat several times per second.
    pub fn part(&mut self, name: String) -> Pulse {
        // The part has not begun yet, so that its first beat counts as given.
        let beats = Arc::new(AtomicU64::new(1));
        self.0.push(Part { name, beats: Arc::downgrade(&beats), seen: 0 });
        Pulse(beats)
    }

    /// Notifies systemd until the process ends, and sends the line `status` when it changes. The task also monitors its
    /// own runtime, because it stops with it.
    pub fn run(mut self, tasks: &Tasks, status: impl Fn() -> String + Send + 'static) {
        let timeout = notify::watchdog_timeout();
        let mut tick = interval(timeout.map_or(STATUS, |timeout| (timeout / 3).min(STATUS)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tasks.lasting("watchdog", async move {
            let mut sent = String::new();
            loop {
                tick.tick().await;
                match self.stuck() {
                    None => notify::alive(),
                    Some(part) => {
                        error!(part, "part is stuck, watchdog not notified")
                    }
                }
                let line = status();
                if line != sent {
                    notify::status(&line);
                    sent = line;
                }
            }
        });
    }

    /// Returns a part that has made no progress since the last call.
    fn stuck(&mut self) -> Option<&str> {
        self.0.retain(|part| part.beats.strong_count() > 0);
        let mut stuck = None;
        for part in &mut self.0 {
            let Some(beats) = part.beats.upgrade() else { continue };
            let now = beats.load(Ordering::Relaxed);
            if std::mem::replace(&mut part.seen, now) == now {
                stuck = Some(&*part.name);
            }
        }
        stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_part_is_found_until_it_ends() {
        let mut watchdog = Watchdog::default();
        let [one, two] = ["one", "two"].map(|name| watchdog.part(name.to_owned()));
        assert_eq!(watchdog.stuck(), None, "both have yet to begin");
        one.beat();
        two.beat();
        assert_eq!(watchdog.stuck(), None);
        one.beat();
        assert_eq!(watchdog.stuck(), Some("two"));
        two.beat();
        assert_eq!(watchdog.stuck(), Some("one"));
        drop(one);
        two.beat();
        assert_eq!(watchdog.stuck(), None);
    }
}
