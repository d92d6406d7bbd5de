//! Rate limits by key, such as a client's network.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::{DefaultKeyedRateLimiter, Quota};

use crate::Network;

/// The number of requests after which keys with a full allowance are removed.
const SWEEP: u32 = 1 << 16;

/// A rate limit by network.
pub type NetworkRateLimit = RateLimit<Network>;

/// A rate limit by key. Clones share the state.
#[derive(Debug, Clone)]
pub struct RateLimit<K: Hash + Eq + Clone>(Arc<RateLimitInner<K>>);

#[derive(Debug)]
struct RateLimitInner<K: Hash + Eq + Clone> {
    allowances: DefaultKeyedRateLimiter<K>,
    requests: AtomicU32,
}

impl<K: Hash + Eq + Clone> RateLimit<K> {
    /// Makes a rate limit with this quota for each key.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        let allowances = DefaultKeyedRateLimiter::keyed(quota);
        Self(Arc::new(RateLimitInner { allowances, requests: AtomicU32::new(0) }))
    }

    /// Counts one request of a key and returns whether it is within the limit. Memory is bounded by the keys since the
    /// last sweep and those that were above their rate then.
    #[must_use]
    pub fn admits(&self, key: K) -> bool {
        let RateLimitInner { allowances, requests } = &*self.0;
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
    fn keys_with_a_full_allowance_are_removed() {
        // With this quota, a key has its full allowance back after a nanosecond.
        let limit = NetworkRateLimit::new(Quota::per_second(NonZeroU32::MAX));
        for i in 0..=1_000_000_u32 {
            let [_, a, b, c] = i.to_be_bytes();
            assert!(limit.admits(Network::V4([a, b, c])));
        }
        assert!(limit.0.allowances.len() <= SWEEP as usize, "{}", limit.0.allowances.len());
    }
}
