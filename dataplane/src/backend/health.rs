//! When a backend is out and when it is back. Pure: each outcome is given, and so is what it takes.

use std::time::Duration;

use webgateway_proto::model::HealthCheck;

/// The longest delay between two checks of a backend that is out, unless its interval is longer.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// How often a backend is looked at, and what takes it out and brings it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Thresholds {
    /// The delay between two checks.
    pub interval: Duration,
    /// How many good ones in a row bring it back.
    pub rise: u32,
    /// How many bad ones in a row take it out.
    pub fall: u32,
}

impl Thresholds {
    /// For a backend that the traffic could not reach: out at once, and back as soon as it can be reached.
    pub(crate) const PASSIVE: Self = Self { interval: Duration::from_secs(1), rise: 1, fall: 1 };

    /// As a route says.
    #[must_use]
    pub(crate) fn from_check(check: &HealthCheck) -> Self {
        Self { interval: check.interval(), rise: check.rise(), fall: check.fall() }
    }
}

/// What is thought of a backend; good until proven otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HealthState {
    is_unhealthy: bool,
    /// Outcomes in a row that contradict it.
    contradicting: u32,
    /// Bad outcomes in a row.
    failures: u32,
}

impl HealthState {
    /// Whether it is out.
    #[must_use]
    pub(crate) fn is_unhealthy(self) -> bool {
        self.is_unhealthy
    }

    /// Takes the outcome of a check; says whether the state turned.
    pub(crate) fn record(&mut self, good: bool, thresholds: Thresholds) -> bool {
        self.failures = if good { 0 } else { self.failures.saturating_add(1) };
        if good != self.is_unhealthy {
            self.contradicting = 0;
            return false;
        }
        self.contradicting += 1;
        let turns = self.contradicting >= if self.is_unhealthy { thresholds.rise } else { thresholds.fall };
        if turns {
            (self.is_unhealthy, self.contradicting) = (!self.is_unhealthy, 0);
        }
        turns
    }

    /// How long until the next check: the interval, and twice as long after each further bad one while it is out.
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

    fn after(outcomes: &[bool], thresholds: Thresholds) -> HealthState {
        let mut state = HealthState::default();
        for good in outcomes {
            state.record(*good, thresholds);
        }
        state
    }

    #[test]
    fn what_the_traffic_cannot_reach_is_out_at_once_and_back_at_once() {
        let mut state = HealthState::default();
        assert!(state.record(false, Thresholds::PASSIVE) && state.is_unhealthy());
        let pauses: Vec<u64> = (0..7)
            .map(|_| {
                let delay = state.delay(Thresholds::PASSIVE).as_secs();
                assert!(!state.record(false, Thresholds::PASSIVE));
                delay
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert!(state.record(true, Thresholds::PASSIVE) && !state.is_unhealthy());
        assert_eq!(state, HealthState::default());
    }

    proptest! {
        /// A plain reading of rise and fall: the last run of equal outcomes decides, if it is long enough.
        #[test]
        fn it_turns_after_as_many_in_a_row_as_asked_for(
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
        fn the_pause_grows_while_it_is_out_and_never_leaves_its_bounds(
            outcomes in proptest::collection::vec(any::<bool>(), 0..60), seconds in 1u64..=3600, fall in 1u32..=10,
        ) {
            let thresholds = Thresholds { interval: Duration::from_secs(seconds), rise: 2, fall };
            let state = after(&outcomes, thresholds);
            let delay = state.delay(thresholds);
            prop_assert!((thresholds.interval..=MAX_DELAY.max(thresholds.interval)).contains(&delay));
            prop_assert!(state.is_unhealthy() || delay == thresholds.interval);
            let mut worse = state;
            worse.record(false, thresholds);
            prop_assert!(!state.is_unhealthy() || worse.delay(thresholds) >= delay);
        }
    }
}
