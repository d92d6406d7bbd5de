//! The nonces seen lately, in memory and bounded: enough for calls that change nothing.

use std::collections::{HashSet, VecDeque};

use webgateway_proto::model::KeyId;

/// How many are remembered; beyond that the oldest is forgotten.
const CAPACITY: usize = 65_536;

type Nonce = (KeyId, Box<str>);

/// Nonces and when they may be forgotten.
#[derive(Debug, Default)]
pub(super) struct SeenNonces {
    seen: HashSet<Nonce>,
    /// Oldest first.
    order: VecDeque<(i64, Nonce)>,
}

impl SeenNonces {
    /// Remembers a nonce until `expires_at`; `false` if it is remembered already. Both times in Unix seconds.
    pub(super) fn spend(&mut self, key_id: &KeyId, nonce: &str, now: i64, expires_at: i64) -> bool {
        while self.order.front().is_some_and(|(expires, _)| *expires < now) || self.order.len() >= CAPACITY {
            if let Some((_, oldest)) = self.order.pop_front() {
                self.seen.remove(&oldest);
            }
        }
        let nonce: Nonce = (key_id.clone(), nonce.into());
        if !self.seen.insert(nonce.clone()) {
            return false;
        }
        self.order.push_back((expires_at, nonce));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_counts_once_per_key_until_it_expires() {
        let (a, b): (KeyId, KeyId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let mut seen = SeenNonces::default();
        assert!(seen.spend(&a, "n", 100, 110));
        assert!(!seen.spend(&a, "n", 110, 120));
        assert!(seen.spend(&b, "n", 110, 120));
        assert!(seen.spend(&a, "n", 111, 121));
    }

    #[test]
    fn it_stays_bounded() {
        let key: KeyId = "a".parse().unwrap();
        let mut seen = SeenNonces::default();
        for i in 0..CAPACITY + 10 {
            assert!(seen.spend(&key, &i.to_string(), 0, 10));
        }
        assert_eq!((seen.seen.len(), seen.order.len()), (CAPACITY, CAPACITY));
    }
}
