//! Notifications to systemd (sd_notify(3)). Without systemd they have no effect.

use std::time::Duration;

use sd_notify::NotifyState;

/// Notifies systemd that the process is ready.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Notifies systemd that the process is stopping.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Notifies systemd's watchdog that the process is alive; due within every [`watchdog_timeout`].
pub fn alive() {
    notify(&[NotifyState::Watchdog]);
}

/// Sends a status line for `systemctl status`.
pub fn status(line: &str) {
    notify(&[NotifyState::Status(line)]);
}

/// Returns the time without [`alive`] after which systemd kills the process; `None` without a watchdog.
#[must_use]
pub fn watchdog_timeout() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn notify(states: &[NotifyState<'_>]) {
    // The notification fails only if systemd's socket is gone.
    let _ = sd_notify::notify(states);
}
