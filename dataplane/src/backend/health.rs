//! Which backends do not answer, as one worker has seen it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_secs(1);
const CAP: Duration = Duration::from_secs(30);

/// The backends that failed to connect, and until when they are passed over.
#[derive(Debug, Default)]
pub struct Health(HashMap<SocketAddr, Failing>);

#[derive(Debug, Clone, Copy)]
struct Failing {
    times: u32,
    until: Instant,
}

impl Health {
    /// Whether a backend may be tried at `now`: one whose time is over is tried again by the next request.
    #[must_use]
    pub fn is_up(&self, backend: SocketAddr, now: Instant) -> bool {
        self.0.is_empty() || self.0.get(&backend).is_none_or(|failing| failing.until <= now)
    }

    /// A backend could not be reached.
    pub fn failed(&mut self, backend: SocketAddr, now: Instant) {
        let failing = self.0.entry(backend).or_insert(Failing { times: 0, until: now });
        let pause = FIRST.saturating_mul(2u32.saturating_pow(failing.times)).min(CAP);
        *failing = Failing { times: failing.times.saturating_add(1), until: now + pause };
    }

    /// A backend was reached.
    pub fn succeeded(&mut self, backend: SocketAddr) {
        if !self.0.is_empty() {
            self.0.remove(&backend);
        }
    }

    /// Forgets backends that nobody asked for in a long while.
    pub fn sweep(&mut self, now: Instant) {
        self.0.retain(|_, failing| failing.until + CAP * 4 > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_backend_is_passed_over_longer_and_longer() {
        let (mut health, now) = (Health::default(), Instant::now());
        let backend: SocketAddr = "[400::1]:80".parse().unwrap();
        assert!(health.is_up(backend, now));
        health.failed(backend, now);
        assert!(!health.is_up(backend, now) && health.is_up(backend, now + FIRST));
        health.failed(backend, now);
        assert!(!health.is_up(backend, now + FIRST));
        (0..20).for_each(|_| health.failed(backend, now));
        assert!(health.is_up(backend, now + CAP));
        health.succeeded(backend);
        assert!(health.is_up(backend, now));
        health.failed(backend, now);
        health.sweep(now + CAP * 10);
        assert!(health.0.is_empty());
    }
}
