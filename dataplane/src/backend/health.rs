//! The health state of a backend: a pure state machine that is fed with the outcomes of checks.

use std::time::Duration;

use webgateway_proto::model::HealthCheck;

/// The maximum delay between two checks of an unhealthy backend, unless its interval is longer.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// The interval of checks, and the numbers of outcomes that change the health state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Thresholds {
    /// The time between two checks.
    pub interval: Duration,
    /// The number of consecutive successes after which an unhealthy backend is healthy.
    pub rise: u32,
    /// The number of consecutive failures after which a healthy backend is unhealthy.
    pub fall: u32,
}

impl Thresholds {
    /// The thresholds of passive health checking: one failure of the traffic makes a backend unhealthy, one successful
    /// connection makes it healthy again.
    pub(crate) const PASSIVE: Self = Self { interval: Duration::from_secs(1), rise: 1, fall: 1 };

    /// Returns the thresholds of a configured check.
    #[must_use]
    pub(crate) fn from_check(check: &HealthCheck) -> Self {
        Self { interval: check.interval(), rise: check.rise(), fall: check.fall() }
    }
}

/// The health of a backend. It is healthy at first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HealthState {
    is_unhealthy: bool,
    /// The number of consecutive outcomes that contradict the state.
    contradicting: u32,
    /// The number of consecutive failures.
    failures: u32,
}

impl HealthState {
    /// Returns whether the backend is unhealthy.
    #[must_use]
    pub(crate) fn is_unhealthy(self) -> bool {
        self.is_unhealthy
    }

    /// Records the outcome of a check; returns whether the state changed.
    pub(crate) fn record(&mut self, success: bool, thresholds: Thresholds) -> bool {
        self.failures = if success { 0 } else { self.failures.saturating_add(1) };
        if success != self.is_unhealthy {
            self.contradicting = 0;
            return false;
        }
        self.contradicting += 1;
        let changes = self.contradicting >= if self.is_unhealthy { thresholds.rise } else { thresholds.fall };
        if changes {
            (self.is_unhealthy, self.contradicting) = (!self.is_unhealthy, 0);
        }
        changes
    }

    /// Returns the time until the next check: the interval, doubled with each further failure while the backend is
    /// unhealthy (exponential backoff), up to [`MAX_DELAY`].
    #[must_use]
    pub(crate) fn delay(self, thresholds: Thresholds) -> Duration {
        if !self.is_unhealthy {
            return thresholds.interval;
        }
        let doublings = self.failures.saturating_sub(thresholds.fall);
        let delay = thresholds.interval.saturating_mul(2u32.saturating_pow(doublings));
        delay.min(MAX_DELAY.max(thresholds.interval))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state_after(outcomes: &[bool], thresholds: Thresholds) -> HealthState {
        let mut state = HealthState::default();
        for good in outcomes {
            state.record(*good, thresholds);
        }
        state
    }

    #[test]
    fn one_passive_failure_makes_unhealthy_and_one_success_makes_healthy() {
        let mut state = HealthState::default();
        assert!(state.record(false, Thresholds::PASSIVE) && state.is_unhealthy());
        let delays: Vec<u64> = (0..7)
            .map(|_| {
                let delay = state.delay(Thresholds::PASSIVE).as_secs();
                assert!(!state.record(false, Thresholds::PASSIVE));
                delay
            })
            .collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 30, 30]);
        assert!(state.record(true, Thresholds::PASSIVE) && !state.is_unhealthy());
        assert_eq!(state, HealthState::default());
    }

    proptest! {
        /// Compares with a direct reading of the definition: the last run of equal outcomes decides, if it is long
        /// enough.
        #[test]
        fn the_state_changes_after_rise_or_fall_consecutive_outcomes(
            outcomes in proptest::collection::vec(any::<bool>(), 0..60), rise in 1u32..=10, fall in 1u32..=10,
        ) {
            let thresholds = Thresholds { interval: Duration::from_secs(10), rise, fall };
            let mut state = HealthState::default();
            let (mut expected, mut last, mut run) = (false, true, 0);
            for good in outcomes {
                run = if good == last { run + 1 } else { 1 };
                last = good;
                let was = expected;
                if run >= if good { rise } else { fall } {
                    expected = !good;
                }
                prop_assert_eq!(state.record(good, thresholds), was != expected);
                prop_assert_eq!(state.is_unhealthy(), expected);
            }
        }

        #[test]
        fn the_delay_grows_while_unhealthy_and_stays_within_its_bounds(
            outcomes in proptest::collection::vec(any::<bool>(), 0..60), seconds in 1u64..=3600, fall in 1u32..=10,
        ) {
            let thresholds = Thresholds { interval: Duration::from_secs(seconds), rise: 2, fall };
            let state = state_after(&outcomes, thresholds);
            let delay = state.delay(thresholds);
            prop_assert!((thresholds.interval..=MAX_DELAY.max(thresholds.interval)).contains(&delay));
            prop_assert!(state.is_unhealthy() || delay == thresholds.interval);
            let mut worse = state;
            worse.record(false, thresholds);
            prop_assert!(!state.is_unhealthy() || worse.delay(thresholds) >= delay);
        }
    }
}
