//! A bounded in-memory cache of used nonces. Mutations are also checked against the nonces in the store.

use std::collections::{HashSet, VecDeque};

use webgateway_proto::model::KeyId;

use crate::store::nonces::NonceUse;

/// The maximum number of nonces of each kind; the oldest is dropped for one more.
const CAPACITY: usize = 65_536;

type Nonce = (KeyId, Box<str>);

/// The used nonces of reads and of mutations, kept apart so that many reads do not evict the nonces of mutations.
#[derive(Debug, Default)]
pub(super) struct SeenNonces {
    reads: NonceCache,
    mutations: NonceCache,
}

/// Used nonces with the times at which they expire.
#[derive(Debug, Default)]
struct NonceCache {
    nonces: HashSet<Nonce>,
    /// The nonces in the order of their expiry, with the time in Unix seconds.
    order: VecDeque<(i64, Nonce)>,
}

impl SeenNonces {
    /// Adds a nonce until it expires. Returns `false` if it is there already.
    pub(super) fn spend(&mut self, used: NonceUse, mutates: bool) -> bool {
        self.reads.evict(used.now);
        self.mutations.evict(used.now);
        let nonce: Nonce = (used.key_id, used.nonce.into());
        if self.reads.nonces.contains(&nonce) || self.mutations.nonces.contains(&nonce) {
            return false;
        }
        let cache = if mutates { &mut self.mutations } else { &mut self.reads };
        cache.insert(nonce, used.expires_at);
        true
    }
}

impl NonceCache {
    fn evict(&mut self, now: i64) {
        while self.order.front().is_some_and(|(expires, _)| *expires < now) || self.order.len() >= CAPACITY {
            if let Some((_, oldest)) = self.order.pop_front() {
                self.nonces.remove(&oldest);
            }
        }
    }

    fn insert(&mut self, nonce: Nonce, expires_at: i64) {
        self.nonces.insert(nonce.clone());
        self.order.push_back((expires_at, nonce));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(key_id: &KeyId, nonce: &str, now: i64, expires_at: i64) -> NonceUse {
        NonceUse { key_id: key_id.clone(), nonce: nonce.to_owned(), now, expires_at }
    }

    #[test]
    fn a_nonce_is_accepted_once_per_key_until_it_expires() {
        let (a, b): (KeyId, KeyId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let mut seen = SeenNonces::default();
        for mutates in [false, true] {
            let nonce = if mutates { "n" } else { "m" };
            assert!(seen.spend(used(&a, nonce, 100, 110), mutates));
            assert!(!seen.spend(used(&a, nonce, 110, 120), mutates));
            assert!(!seen.spend(used(&a, nonce, 110, 120), !mutates));
            assert!(seen.spend(used(&b, nonce, 110, 120), mutates));
            assert!(seen.spend(used(&a, nonce, 111, 121), mutates));
            seen = SeenNonces::default();
        }
    }

    #[test]
    fn the_cache_is_bounded_and_reads_do_not_evict_mutations() {
        let key: KeyId = "a".parse().unwrap();
        let mut seen = SeenNonces::default();
        assert!(seen.spend(used(&key, "mutation", 0, 10), true));
        for i in 0..CAPACITY + 10 {
            assert!(seen.spend(used(&key, &i.to_string(), 0, 10), false));
        }
        assert_eq!((seen.reads.nonces.len(), seen.reads.order.len()), (CAPACITY, CAPACITY));
        assert!(!seen.spend(used(&key, "mutation", 0, 10), true));
    }
}
