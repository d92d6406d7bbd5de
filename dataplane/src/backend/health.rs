//! When a backend is out and when it is back. Pure: each outcome is given, and so is what it takes.

use std::time::Duration;

use webgateway_proto::model::HealthCheck;

/// The longest pause between two checks of a backend that is out, unless its interval is longer.
const CAP: Duration = Duration::from_secs(30);

/// How often a backend is looked at, and what takes it out and brings it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The pause between two checks.
    pub interval: Duration,
    /// How many good ones in a row bring it back.
    pub rise: u32,
    /// How many bad ones in a row take it out.
    pub fall: u32,
}

impl Terms {
    /// For a backend that the traffic could not reach: out at once, and back as soon as it can be reached.
    pub(crate) const TRAFFIC: Self = Self { interval: Duration::from_secs(1), rise: 1, fall: 1 };

    /// As a route says.
    #[must_use]
    pub(crate) fn of(check: &HealthCheck) -> Self {
        Self { interval: check.interval(), rise: check.rise(), fall: check.fall() }
    }
}

/// What is thought of a backend; good until proven otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    is_out: bool,
    /// Outcomes in a row that contradict it.
    against: u32,
    /// Bad outcomes in a row.
    failures: u32,
}

impl Judgement {
    /// Whether it is out.
    #[must_use]
    pub(crate) fn is_out(self) -> bool {
        self.is_out
    }

    /// Takes the outcome of a check; says whether the judgement turned.
    pub(crate) fn note(&mut self, good: bool, terms: Terms) -> bool {
        self.failures = if good { 0 } else { self.failures.saturating_add(1) };
        if good != self.is_out {
            self.against = 0;
            return false;
        }
        self.against += 1;
        let turns = self.against >= if self.is_out { terms.rise } else { terms.fall };
        if turns {
            (self.is_out, self.against) = (!self.is_out, 0);
        }
        turns
    }

    /// How long until the next check: the interval, and twice as long after each further bad one while it is out.
    #[must_use]
    pub(crate) fn pause(self, terms: Terms) -> Duration {
        if !self.is_out {
            return terms.interval;
        }
        let doublings = self.failures.saturating_sub(terms.fall);
        let pause = terms.interval.saturating_mul(2u32.saturating_pow(doublings));
        pause.min(CAP.max(terms.interval))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(outcomes: &[bool], terms: Terms) -> Judgement {
        let mut judgement = Judgement::default();
        for good in outcomes {
            judgement.note(*good, terms);
        }
        judgement
    }

    #[test]
    fn what_the_traffic_cannot_reach_is_out_at_once_and_back_at_once() {
        let mut judgement = Judgement::default();
        assert!(judgement.note(false, Terms::TRAFFIC) && judgement.is_out());
        let pauses: Vec<u64> = (0..7)
            .map(|_| {
                let pause = judgement.pause(Terms::TRAFFIC).as_secs();
                assert!(!judgement.note(false, Terms::TRAFFIC));
                pause
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert!(judgement.note(true, Terms::TRAFFIC) && !judgement.is_out());
        assert_eq!(judgement, Judgement::default());
    }

    proptest! {
        /// A plain reading of rise and fall: the last run of equal outcomes decides, if it is long enough.
        #[test]
        fn it_turns_after_as_many_in_a_row_as_asked_for(
            outcomes in proptest::collection::vec(any::<bool>(), 0..60), rise in 1u32..=10, fall in 1u32..=10,
        ) {
            let terms = Terms { interval: Duration::from_secs(10), rise, fall };
            let mut judgement = Judgement::default();
            let (mut expected, mut last, mut run) = (false, true, 0);
            for good in outcomes {
                run = if good == last { run + 1 } else { 1 };
                last = good;
                let was = expected;
                if run >= if good { rise } else { fall } {
                    expected = !good;
                }
                prop_assert_eq!(judgement.note(good, terms), was != expected);
                prop_assert_eq!(judgement.is_out(), expected);
            }
        }

        #[test]
        fn the_pause_grows_while_it_is_out_and_never_leaves_its_bounds(
            outcomes in proptest::collection::vec(any::<bool>(), 0..60), seconds in 1u64..=3600, fall in 1u32..=10,
        ) {
            let terms = Terms { interval: Duration::from_secs(seconds), rise: 2, fall };
            let judgement = after(&outcomes, terms);
            let pause = judgement.pause(terms);
            prop_assert!((terms.interval..=CAP.max(terms.interval)).contains(&pause));
            prop_assert!(judgement.is_out() || pause == terms.interval);
            let mut worse = judgement;
            worse.note(false, terms);
            prop_assert!(!judgement.is_out() || worse.pause(terms) >= pause);
        }
    }
}
