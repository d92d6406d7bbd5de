//! How many questions one client network may ask, so that nobody is flooded with our answers.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::{DefaultKeyedRateLimiter, Quota};

use crate::Network;

/// Questions a second of one network, in the long run. A CA asks a few per name, from several networks.
const RATE: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// Questions of one network at once.
const BURST: NonZeroU32 = NonZeroU32::new(400).unwrap();
/// After so many questions, networks that have their whole allowance again are forgotten.
const SWEEP: u32 = 1 << 16;

/// The allowances. Clones are the same ones.
#[derive(Debug, Clone)]
pub struct Limit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    allowances: DefaultKeyedRateLimiter<Network>,
    asked: AtomicU32,
}

impl Limit {
    /// Gives each network this much.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        let allowances = DefaultKeyedRateLimiter::keyed(quota);
        Self(Arc::new(Inner { allowances, asked: AtomicU32::new(0) }))
    }

    /// Takes one question from a network's allowance, if there is one left. Remembers at most as many networks as
    /// asked since the last sweep, and those that were over their rate then.
    #[must_use]
    pub fn admits(&self, network: Network) -> bool {
        let Inner { allowances, asked } = &*self.0;
        if asked.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            allowances.retain_recent();
            allowances.shrink_to_fit();
        }
        allowances.check_key(&network).is_ok()
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self::new(Quota::per_second(RATE).allow_burst(BURST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_is_limited_and_the_others_are_not() {
        let limit = Limit::new(Quota::per_hour(NonZeroU32::MIN).allow_burst(NonZeroU32::new(3).unwrap()));
        let (a, b) = (Network::V4([192, 0, 2]), Network::V4([192, 0, 3]));
        assert_eq!((0..5).filter(|_| limit.admits(a)).count(), 3);
        assert!(limit.admits(b));
    }

    #[test]
    fn strangers_by_the_million_are_forgotten() {
        // Each has its allowance back after a nanosecond.
        let limit = Limit::new(Quota::per_second(NonZeroU32::MAX));
        for i in 0..=1_000_000_u32 {
            let [_, a, b, c] = i.to_be_bytes();
            assert!(limit.admits(Network::V4([a, b, c])));
        }
        assert!(limit.0.allowances.len() <= SWEEP as usize, "{}", limit.0.allowances.len());
    }
}
