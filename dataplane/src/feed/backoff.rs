//! Exponential backoff with a cap and jitter.

use std::time::Duration;

/// The delay after the first failure, before jitter.
const INITIAL: Duration = Duration::from_millis(100);
/// The maximum delay.
const MAX: Duration = Duration::from_secs(5);

/// The delays between attempts to connect.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Returns the delay after one more failure. Half of it is fixed, and `jitter` (0.0 to 1.0) scales the other half,
    /// so that nodes that lost the controlplane at the same time reconnect at different times.
    pub(crate) fn next_delay(&mut self, jitter: f64) -> Duration {
        let delay = INITIAL.saturating_mul(2u32.saturating_pow(self.failures)).min(MAX);
        self.failures = self.failures.saturating_add(1);
        delay.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// Starts over after a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_the_maximum_and_starts_over() {
        let mut backoff = Backoff::default();
        let delays: Vec<u128> = (0..8).map(|_| backoff.next_delay(1.0).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.next_delay(0.0), MAX / 2);
        assert!((0..100).all(|_| backoff.next_delay(0.5) <= MAX));
        backoff.reset();
        assert_eq!(backoff.next_delay(0.0), INITIAL / 2);
    }
}
