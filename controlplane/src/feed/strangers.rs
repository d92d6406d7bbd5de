//! The places of those who are no node yet: few, and whoever takes many loses them first.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use webgateway_process::dns::limit::Network;

/// Those who have a place. Clones are the same ones.
#[derive(Debug, Clone)]
pub(super) struct Strangers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    places: usize,
    taken: Mutex<Taken>,
}

/// By their order of coming; who is taken out of here learns it.
#[derive(Debug, Default)]
struct Taken {
    next: u64,
    by: BTreeMap<u64, (Network, oneshot::Sender<Infallible>)>,
}

/// A place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    strangers: Strangers,
    number: u64,
    lost: oneshot::Receiver<Infallible>,
}

impl Strangers {
    /// So many places.
    pub(super) fn new(places: usize) -> Self {
        Self(Arc::new(Inner { places, taken: Mutex::default() }))
    }

    /// Always a place: when there is none left, the network that has most loses its oldest. Whether one was lost.
    pub(super) fn enter(&self, address: IpAddr) -> (Place, bool) {
        let (held, lost) = oneshot::channel();
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let full = taken.by.len() >= self.0.places;
        if full && let Some(oldest) = taken.oldest_of_most() {
            taken.by.remove(&oldest);
        }
        let number = taken.next;
        taken.next += 1;
        taken.by.insert(number, (Network::of(address), held));
        (Place { strangers: self.clone(), number, lost }, full)
    }
}

impl Taken {
    fn oldest_of_most(&self) -> Option<u64> {
        let mut counts: HashMap<Network, (usize, u64)> = HashMap::new();
        for (number, (network, _)) in &self.by {
            counts.entry(*network).or_insert((0, *number)).0 += 1;
        }
        counts
            .into_values()
            .max_by_key(|(count, oldest)| (*count, u64::MAX - oldest))
            .map(|(_, oldest)| oldest)
    }
}

impl Place {
    /// Ready when the place went to somebody else.
    pub(super) fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.lost).poll(cx).map(drop)
    }

    /// Resolves when the place went to somebody else; safe to be cancelled.
    pub(super) async fn lost(&mut self) {
        std::future::poll_fn(|cx| self.poll_lost(cx)).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.strangers.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.by.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn is_lost(place: &mut Place) -> bool {
        place.lost().now_or_never().is_some()
    }

    #[test]
    fn who_takes_many_places_loses_the_oldest_and_others_keep_theirs() {
        let (strangers, flood) = (Strangers::new(3), "203.0.113.7".parse().unwrap());
        let (mut honest, _) = strangers.enter("192.0.2.1".parse().unwrap());
        let (mut first, _) = strangers.enter(flood);
        let (mut second, full) = strangers.enter(flood);
        assert!(!full);
        let (mut third, full) = strangers.enter(flood);
        assert!(full && is_lost(&mut first));
        let (mut late, _) = strangers.enter("198.51.100.1".parse().unwrap());
        assert!(is_lost(&mut second));
        assert!([&mut honest, &mut third, &mut late].into_iter().all(|place| !is_lost(place)));
    }

    #[test]
    fn a_place_given_back_is_free() {
        let (strangers, flood) = (Strangers::new(1), "203.0.113.7".parse().unwrap());
        drop(strangers.enter(flood));
        let (_place, full) = strangers.enter(flood);
        assert!(!full);
    }
}
