//! The nonces seen lately, in memory and bounded: enough for calls that change nothing.

use std::collections::{HashSet, VecDeque};

use webgateway_proto::model::KeyId;

use crate::store::nonces::NonceUse;

/// The most nonces of each kind that are remembered; beyond that the oldest is forgotten.
const CAPACITY: usize = 65_536;

type Nonce = (KeyId, Box<str>);

/// The nonces of reads and of what changes something: many reads do not make the others forgotten.
#[derive(Debug, Default)]
pub(super) struct SeenNonces {
    reads: Seen,
    changes: Seen,
}

/// Nonces and when they may be forgotten.
#[derive(Debug, Default)]
struct Seen {
    nonces: HashSet<Nonce>,
    /// Oldest first.
    order: VecDeque<(i64, Nonce)>,
}

impl SeenNonces {
    /// Remembers a nonce until it expires; returns `false` if it is remembered already.
    pub(super) fn spend(&mut self, used: NonceUse, mutates: bool) -> bool {
        self.reads.forget(used.now);
        self.changes.forget(used.now);
        let nonce: Nonce = (used.key_id, used.nonce.into());
        if self.reads.nonces.contains(&nonce) || self.changes.nonces.contains(&nonce) {
            return false;
        }
        let seen = if mutates { &mut self.changes } else { &mut self.reads };
        seen.remember(nonce, used.expires_at);
        true
    }
}

impl Seen {
    fn forget(&mut self, now: i64) {
        while self.order.front().is_some_and(|(expires, _)| *expires < now) || self.order.len() >= CAPACITY {
            if let Some((_, oldest)) = self.order.pop_front() {
                self.nonces.remove(&oldest);
            }
        }
    }

    fn remember(&mut self, nonce: Nonce, expires_at: i64) {
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
    fn a_nonce_counts_once_per_key_until_it_expires() {
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
    fn it_stays_bounded_and_reads_do_not_make_changes_forgotten() {
        let key: KeyId = "a".parse().unwrap();
        let mut seen = SeenNonces::default();
        assert!(seen.spend(used(&key, "change", 0, 10), true));
        for i in 0..CAPACITY + 10 {
            assert!(seen.spend(used(&key, &i.to_string(), 0, 10), false));
        }
        assert_eq!((seen.reads.nonces.len(), seen.reads.order.len()), (CAPACITY, CAPACITY));
        assert!(!seen.spend(used(&key, "change", 0, 10), true));
    }
}
