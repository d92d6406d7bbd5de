//! What systemd is told, where it listens.

use std::time::Duration;

use sd_notify::NotifyState;

/// The process does its job from now on.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The process stops.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The process lives; said within every [`watchdog_patience`].
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How the process does, in one line for `systemctl status`.
pub fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// Without [`alive`] for so long, systemd kills the process; `None`: nobody waits for it.
#[must_use]
pub fn watchdog_patience() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn tell(states: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(states);
}
