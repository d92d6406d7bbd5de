//! A bound on how often something happens to one of many, as a client network may ask for something.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::{DefaultKeyedRateLimiter, Quota};

use crate::Network;

/// After so many requests, keys that have their whole allowance again are forgotten.
const SWEEP: u32 = 1 << 16;

/// An allowance for each network.
pub type NetworkRateLimit = RateLimit<Network>;

/// An allowance for each key. Clones share the allowances.
#[derive(Debug, Clone)]
pub struct RateLimit<K: Hash + Eq + Clone>(Arc<Inner<K>>);

#[derive(Debug)]
struct Inner<K: Hash + Eq + Clone> {
    allowances: DefaultKeyedRateLimiter<K>,
    requests: AtomicU32,
}

impl<K: Hash + Eq + Clone> RateLimit<K> {
    /// Gives each key this allowance.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        let allowances = DefaultKeyedRateLimiter::keyed(quota);
        Self(Arc::new(Inner { allowances, requests: AtomicU32::new(0) }))
    }

    /// Takes one request from a key's allowance; returns whether there was one left. Remembers at most as many keys as
    /// asked since the last sweep, and those that were over their rate then.
    #[must_use]
    pub fn admits(&self, key: K) -> bool {
        let Inner { allowances, requests } = &*self.0;
        if requests.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            allowances.retain_recent();
            allowances.shrink_to_fit();
        }
        allowances.check_key(&key).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn one_network_is_limited_and_the_others_are_not() {
        let quota = Quota::per_hour(NonZeroU32::MIN).allow_burst(NonZeroU32::new(3).unwrap());
        let limit = NetworkRateLimit::new(quota);
        let (a, b) = (Network::V4([192, 0, 2]), Network::V4([192, 0, 3]));
        assert_eq!((0..5).filter(|_| limit.admits(a)).count(), 3);
        assert!(limit.admits(b));
    }

    #[test]
    fn networks_by_the_million_are_forgotten() {
        // Each has its allowance back after a nanosecond.
        let limit = NetworkRateLimit::new(Quota::per_second(NonZeroU32::MAX));
        for i in 0..=1_000_000_u32 {
            let [_, a, b, c] = i.to_be_bytes();
            assert!(limit.admits(Network::V4([a, b, c])));
        }
        assert!(limit.0.allowances.len() <= SWEEP as usize, "{}", limit.0.allowances.len());
    }
}
