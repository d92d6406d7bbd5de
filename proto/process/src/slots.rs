//! Slots: a limit on concurrent use, in total and per key.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

/// A bounded number of slots, each held by a key such as a client's network. Clones share the slots.
#[derive(Debug)]
pub struct Slots<K>(Arc<SlotsInner<K>>);

#[derive(Debug)]
struct SlotsInner<K> {
    total: usize,
    per_key: usize,
    held: Mutex<HeldSlots<K>>,
}

/// The held slots by key and age; a lower number is older. Keys without a slot are removed.
#[derive(Debug)]
struct HeldSlots<K> {
    next: u64,
    count: usize,
    by_key: HashMap<K, BTreeMap<u64, Option<Eviction>>>,
}

/// The sender that notifies a slot's holder of its eviction by being dropped.
type Eviction = oneshot::Sender<Infallible>;

/// A held slot; released when dropped.
#[derive(Debug)]
pub struct Slot<K: Eq + Hash> {
    slots: Slots<K>,
    key: K,
    number: u64,
    evicted: Option<oneshot::Receiver<Infallible>>,
}

impl<K: Eq + Hash + Clone> Slots<K> {
    /// Makes `total` slots, of which each key may hold at most `per_key`.
    #[must_use]
    pub fn new(total: usize, per_key: usize) -> Self {
        let held = HeldSlots { next: 0, count: 0, by_key: HashMap::new() };
        Self(Arc::new(SlotsInner { total, per_key, held: Mutex::new(held) }))
    }

    /// Takes a slot; `None` if all are held, or the key holds its maximum.
    #[must_use]
    pub fn take(&self, key: K) -> Option<Slot<K>> {
        let mut held = self.held();
        let own = held.by_key.get(&key).map_or(0, BTreeMap::len);
        if held.count >= self.0.total || own >= self.0.per_key {
            return None;
        }
        let number = held.insert(key.clone(), None);
        Some(Slot { slots: self.clone(), key, number, evicted: None })
    }

    /// Takes a slot, even if all are held: then the oldest slot of the key with the most slots is evicted. The limit
    /// per key does not apply. Returns the slot, and true if another one was evicted.
    #[must_use]
    pub fn take_or_evict(&self, key: K) -> (Slot<K>, bool) {
        let (eviction, evicted) = oneshot::channel();
        let mut held = self.held();
        let is_full = held.count >= self.0.total;
        if is_full && let Some((key, oldest)) = held.oldest_of_most() {
            held.remove(&key, oldest);
        }
        let number = held.insert(key.clone(), Some(eviction));
        (Slot { slots: self.clone(), key, number, evicted: Some(evicted) }, is_full)
    }
}

impl<K> Slots<K> {
    fn held(&self) -> MutexGuard<'_, HeldSlots<K>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Clone for Slots<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Eq + Hash> HeldSlots<K> {
    fn insert(&mut self, key: K, eviction: Option<Eviction>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.count += 1;
        self.by_key.entry(key).or_default().insert(number, eviction);
        number
    }

    fn remove(&mut self, key: &K, number: u64) {
        let Some(own) = self.by_key.get_mut(key) else { return };
        if own.remove(&number).is_some() {
            self.count -= 1;
        }
        if own.is_empty() {
            self.by_key.remove(key);
        }
    }
}

impl<K: Clone> HeldSlots<K> {
    fn oldest_of_most(&self) -> Option<(K, u64)> {
        let oldest = self.by_key.iter().filter_map(|(key, own)| Some((key, own.len(), *own.keys().next()?)));
        let most = oldest.max_by_key(|(_, count, oldest)| (*count, Reverse(*oldest)));
        most.map(|(key, _, oldest)| (key.clone(), oldest))
    }
}

impl<K: Eq + Hash> Slot<K> {
    /// Polls whether the slot was evicted.
    pub fn poll_evicted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.evicted {
            Some(evicted) => Pin::new(evicted).poll(cx).map(drop),
            None => Poll::Pending,
        }
    }

    /// Resolves when the slot is evicted; cancel-safe.
    pub async fn evicted(&mut self) {
        std::future::poll_fn(|cx| self.poll_evicted(cx)).await;
    }
}

impl<K: Eq + Hash> Drop for Slot<K> {
    fn drop(&mut self) {
        self.slots.held().remove(&self.key, self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn is_evicted(slot: &mut Slot<&'static str>) -> bool {
        slot.evicted().now_or_never().is_some()
    }

    #[test]
    fn slots_are_bounded_in_all_and_by_key_and_released() {
        let slots = Slots::new(10, 4);
        let mut held: Vec<_> = std::iter::from_fn(|| slots.take(0)).collect();
        assert_eq!(held.len(), 4);
        for key in 1..20 {
            held.extend(slots.take(key));
            held.extend(slots.take(key));
        }
        assert_eq!(held.len(), 10);
        assert_eq!(slots.held().by_key.len(), 4, "keys without a slot are not stored");
        held.pop();
        assert!(slots.take(0).is_none(), "all that one may hold");
        assert!(slots.take(1).is_some());
        held.clear();
        assert!(slots.held().by_key.is_empty());
        assert_eq!(slots.held().count, 0);
    }

    #[test]
    fn the_key_with_the_most_slots_loses_its_oldest() {
        let slots = Slots::new(3, usize::MAX);
        let (mut honest, _) = slots.take_or_evict("honest");
        let (mut first, _) = slots.take_or_evict("flood");
        let (mut second, full) = slots.take_or_evict("flood");
        assert!(!full);
        let (mut third, full) = slots.take_or_evict("flood");
        assert!(full && is_evicted(&mut first));
        let (mut late, _) = slots.take_or_evict("late");
        assert!(is_evicted(&mut second));
        assert!([&mut honest, &mut third, &mut late].into_iter().all(|slot| !is_evicted(slot)));
        drop((first, second));
        assert_eq!(slots.held().count, 3, "an evicted slot is not given back twice");
    }

    #[test]
    fn a_released_slot_is_free() {
        let slots = Slots::new(1, 1);
        drop(slots.take_or_evict("flood"));
        let (_slot, full) = slots.take_or_evict("flood");
        assert!(!full);
    }
}
