//! Load balancing: the choice of a backend among those of a list.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;

use webgateway_proto::model::options::Weights;
use webgateway_proto::model::{Backend, Balance, MAX_BACKENDS, RouteId};

use super::client_hash;
use super::open_requests::open_requests;

/// The maximum number of lists with a position. Beyond it all positions are dropped, so that those of deleted routes
/// do not accumulate.
const MAX_LISTS: usize = 65_536;
/// The maximum number of choices by which a weighted round robin is advanced at its start, so that not every worker
/// begins with the same backend.
const MAX_ADVANCE: u32 = 256;

/// A set of backends, by their index in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct BackendSet(u32);

// Each backend of a list has a bit.
const _: () = assert!(MAX_BACKENDS <= u32::BITS as usize);

/// A list of backends, and what decides about the choice among them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BackendList<'a> {
    /// The route.
    pub route: RouteId,
    /// The backends, at most [`MAX_BACKENDS`].
    pub backends: &'a [Backend],
    /// The policy.
    pub balance: Balance,
    /// The weights of the backends.
    pub weights: &'a Weights,
    /// The client's address.
    pub client: IpAddr,
}

/// The round-robin positions of one worker, by route, and by list, as a route may have several.
#[derive(Debug, Default)]
pub(crate) struct RoundRobin(RefCell<HashMap<(RouteId, Backend, usize), Position>>);

/// The round-robin position in a list.
#[derive(Debug)]
struct Position {
    /// The number of choices so far, from a random start. Used if all weights are equal.
    count: usize,
    /// The credit of each backend, in a smooth weighted round robin. Empty until it is used.
    credits: Vec<i32>,
}

impl BackendSet {
    /// Returns the set of those indices below `count`, at most [`MAX_BACKENDS`], that `contains` selects.
    fn select(count: usize, contains: impl Fn(usize) -> bool) -> Self {
        let mut set = Self::default();
        (0..count.min(MAX_BACKENDS)).filter(|index| contains(*index)).for_each(|index| set.insert(index));
        set
    }

    /// Adds an index below [`MAX_BACKENDS`].
    pub(crate) fn insert(&mut self, index: usize) {
        self.0 |= 1 << index;
    }

    /// Returns whether the set contains an index.
    #[must_use]
    pub(crate) fn contains(self, index: usize) -> bool {
        index < MAX_BACKENDS && self.0 & (1 << index) != 0
    }

    fn filter(self, keep: impl Fn(usize) -> bool) -> Self {
        Self::select(MAX_BACKENDS, |index| self.contains(index) && keep(index))
    }

    fn or_else(self, other: impl FnOnce() -> Self) -> Self {
        if self.0 == 0 { other() } else { self }
    }

    const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let index = (rest != 0).then(|| rest.trailing_zeros() as usize);
            rest &= rest.wrapping_sub(1);
            index
        })
    }
}

/// Returns the backends among which the next one is chosen, of a list of `count`: those that are healthy and not yet
/// tried, or those that are not yet tried if none of them is healthy, as an attempt may succeed and a refusal cannot.
/// A backend of weight 0 is no candidate, unless all have it. The set is empty once all candidates were tried.
///
/// A pure function: the caller passes weights and health.
#[must_use]
pub(crate) fn candidates(
    count: usize,
    tried: BackendSet,
    weight: impl Fn(usize) -> u16,
    is_healthy: impl Fn(usize) -> bool,
) -> BackendSet {
    let serving = BackendSet::select(count, |index| weight(index) > 0);
    let untried =
        serving.or_else(|| BackendSet::select(count, |_| true)).filter(|index| !tried.contains(index));
    untried.filter(is_healthy).or_else(|| untried)
}

impl RoundRobin {
    /// Chooses one of the backends in `among`. `is_first` is false for a further attempt of the same request, which
    /// does not advance an unweighted round robin.
    pub(crate) fn choose(&self, list: &BackendList<'_>, among: BackendSet, is_first: bool) -> Option<usize> {
        if among.len() < 2 {
            return among.iter().next();
        }
        let backend = |index: usize| list.backends.get(index).copied();
        let weight = |index: usize| backend(index).map_or(1, |backend| list.weights.of(backend).max(1));
        match list.balance {
            Balance::RoundRobin => self.next(list, among, is_first, weight),
            Balance::Random => random(among, weight),
            Balance::LeastConnections => {
                random(least(among, weight, |index| backend(index).map_or(0, open_requests)), weight)
            }
            Balance::ClientHash => {
                let weighted = among.iter().filter_map(|index| Some((index, backend(index)?, weight(index))));
                client_hash::choose(list.client, weighted)
            }
        }
    }

    fn next(
        &self,
        list: &BackendList<'_>,
        among: BackendSet,
        is_first: bool,
        weight: impl Fn(usize) -> u16,
    ) -> Option<usize> {
        let mut positions = self.0.borrow_mut();
        if positions.len() >= MAX_LISTS {
            positions.clear();
        }
        let key = (list.route, *list.backends.first()?, list.backends.len());
        let start = || Position { count: fastrand::usize(..), credits: Vec::new() };
        let position = positions.entry(key).or_insert_with(start);
        if list.weights.is_empty() {
            position.count = position.count.wrapping_add(usize::from(is_first));
            return among.iter().nth(position.count.checked_rem(among.len())?);
        }
        if position.credits.is_empty() {
            position.credits = vec![0; MAX_BACKENDS];
            let total: u32 = among.iter().map(|index| u32::from(weight(index))).sum();
            for _ in 0..fastrand::u32(..total.clamp(1, MAX_ADVANCE)) {
                smooth(among, &mut position.credits, &weight);
            }
        }
        smooth(among, &mut position.credits, weight)
    }
}

/// Chooses by a smooth weighted round robin, as nginx does: every backend gets credit of its weight, and the one with
/// the most pays the total. Of as many choices as the total of the weights, each backend has exactly its weight, evenly
/// spread.
fn smooth(among: BackendSet, credits: &mut [i32], weight: impl Fn(usize) -> u16) -> Option<usize> {
    let (mut total, mut richest) = (0, None);
    for index in among.iter() {
        let credit = credits.get_mut(index)?;
        total += i32::from(weight(index));
        *credit += i32::from(weight(index));
        if richest.is_none_or(|(_, most)| *credit > most) {
            richest = Some((index, *credit));
        }
    }
    let (index, _) = richest?;
    *credits.get_mut(index)? -= total;
    Some(index)
}

/// Chooses at random, with probabilities in proportion to the weights.
fn random(among: BackendSet, weight: impl Fn(usize) -> u16) -> Option<usize> {
    let total: u32 = among.iter().map(|index| u32::from(weight(index))).sum();
    let mut ticket = fastrand::u32(..total.max(1));
    among.iter().find(|index| {
        let own = u32::from(weight(*index));
        let is_own = ticket < own;
        ticket = ticket.saturating_sub(own);
        is_own
    })
}

/// Returns the backends with the fewest open requests in proportion to their weights.
fn least(among: BackendSet, weight: impl Fn(usize) -> u16, open: impl Fn(usize) -> u32) -> BackendSet {
    let mut least = (BackendSet::default(), u64::MAX, 1);
    for index in among.iter() {
        let (own_open, own_weight) = (u64::from(open(index)), u64::from(weight(index)));
        let (set, open, weight) = &mut least;
        let (own, other) = (own_open.saturating_mul(*weight), open.saturating_mul(own_weight));
        if set.len() == 0 || own < other {
            least = (BackendSet::select(MAX_BACKENDS, |other| other == index), own_open, own_weight);
        } else if own == other {
            set.insert(index);
        }
    }
    least.0
}

#[cfg(test)]
mod tests;
