//! Notifications to systemd (sd_notify(3)), where it listens.

use std::time::Duration;

use sd_notify::NotifyState;

/// Says that the process does its job from now on.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Says that the process stops.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says that the process lives, within every [`watchdog_timeout`].
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// Sends one line for `systemctl status`.
pub fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// Returns the time without [`alive`] after which systemd kills the process; `None` if it never does.
#[must_use]
pub fn watchdog_timeout() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn tell(states: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(states);
}
