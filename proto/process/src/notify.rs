//! What systemd is told, where it listens.

use sd_notify::NotifyState;

/// The process does its job from now on.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The process stops.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(states);
}
