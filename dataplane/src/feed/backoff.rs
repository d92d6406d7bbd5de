//! How long to wait before the next attempt: doubling, capped, jittered.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(5);

/// The waits between attempts to connect.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure. `jitter` is in 0.0..1.0: half of the wait is fixed, half is chance, so
    /// that nodes which lost the controlplane together do not come back together.
    pub(crate) fn failed(&mut self, jitter: f64) -> Duration {
        let whole = FIRST.saturating_mul(2u32.saturating_pow(self.failures)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        whole.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// All is well again.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap_and_starts_over() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..8).map(|_| backoff.failed(1.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.failed(0.0), CAP / 2);
        assert!((0..100).all(|_| backoff.failed(0.5) <= CAP));
        backoff.succeeded();
        assert_eq!(backoff.failed(0.0), FIRST / 2);
    }
}
