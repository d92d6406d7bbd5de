//! Load balancing: the order in which the backends of a route are tried.

use std::cell::RefCell;
use std::collections::HashMap;

use webgateway_proto::model::{Backend, Balance, RouteId};

/// The round-robin positions on one worker: of each route, and of each list of backends that it has.
#[derive(Debug, Default)]
pub(crate) struct RoundRobin(RefCell<HashMap<(RouteId, Backend), usize>>);

/// The maximum number of lists with a position. Beyond it all positions are dropped, so that those of deleted routes
/// do not accumulate.
const MAX_LISTS: usize = 65_536;

impl RoundRobin {
    /// Returns the index to choose one of these backends of a route by: their next position, or a random number. It is
    /// 0 for fewer than two backends.
    pub(crate) fn next(&self, route: RouteId, balance: Balance, backends: &[Backend]) -> usize {
        match (backends, balance) {
            ([] | [_], _) => 0,
            (_, Balance::Random) => fastrand::usize(..),
            ([first, ..], Balance::RoundRobin) => {
                let mut positions = self.0.borrow_mut();
                if positions.len() >= MAX_LISTS {
                    positions.clear();
                }
                let position = positions.entry((route, *first)).or_insert_with(|| fastrand::usize(..));
                *position = position.wrapping_add(1);
                *position
            }
        }
    }
}

/// Returns the backends to try, at most two, in order: the healthy one at `index` (modulo their number), then another
/// one. If all are unhealthy, all are treated as healthy: an attempt may succeed, a refusal cannot.
///
/// A pure function: the caller passes the index and the health.
#[must_use]
pub(crate) fn candidates(
    backends: &[Backend],
    index: usize,
    is_healthy: impl Fn(Backend) -> bool,
) -> [Option<Backend>; 2] {
    let healthy = backends.iter().filter(|backend| is_healthy(**backend)).count();
    let is_usable = |backend: &&Backend| healthy == 0 || is_healthy(**backend);
    let usable = if healthy == 0 { backends.len() } else { healthy };
    let Some(first) = index.checked_rem(usable) else { return [None, None] };
    let nth = |n: usize| backends.iter().filter(is_usable).nth(n).copied();
    let second = (backends.len() > 1).then(|| {
        // Another healthy backend if there is one, else an unhealthy one.
        let chosen = nth(first);
        let next = if usable > 1 { nth((first + 1) % usable) } else { None };
        next.or_else(|| backends.iter().copied().find(|backend| Some(*backend) != chosen))
    });
    [nth(first), second.flatten()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn backends(n: usize) -> Vec<Backend> {
        (1..=n).map(|i| format!("[400::{i:x}]:80").parse().unwrap()).collect()
    }

    #[test]
    fn each_list_of_each_route_has_its_own_position() {
        let round_robin = RoundRobin::default();
        let (a, b) = (RouteId::from_bytes([1; 16]), RouteId::from_bytes([2; 16]));
        let all = backends(4);
        let lists = [(a, &all[..2]), (b, &all[..2]), (a, &all[2..])];
        let next = |(route, list)| round_robin.next(route, Balance::RoundRobin, list) % 2;
        let first = lists.map(next);
        for round in 1..6 {
            assert_eq!(lists.map(next), first.map(|first| (first + round) % 2));
        }
    }

    proptest! {
        #[test]
        fn the_first_is_healthy_if_any_is_and_the_second_differs(n in 0usize..8, index: usize, mask: u8) {
            let all = backends(n);
            let is_up = |backend: Backend| {
                let at = all.iter().position(|b| *b == backend).unwrap();
                mask & (1 << at) != 0
            };
            let [first, second] = candidates(&all, index, is_up);
            prop_assert_eq!(first.is_some(), n > 0);
            prop_assert_eq!(second.is_some(), n > 1);
            if let Some(first) = first {
                prop_assert!(is_up(first) || all.iter().all(|b| !is_up(*b)));
                prop_assert_ne!(Some(first), second);
            }
        }

        #[test]
        fn every_healthy_backend_is_chosen_in_turn(n in 1usize..8, mask in 1u8..) {
            let all = backends(n);
            let up: Vec<Backend> = all.iter().enumerate().filter(|(i, _)| mask & (1 << i) != 0).map(|(_, b)| *b).collect();
            prop_assume!(!up.is_empty());
            let mut seen: Vec<Backend> = (0..up.len()).filter_map(|turn| candidates(&all, turn, |b| up.contains(&b))[0]).collect();
            seen.sort();
            prop_assert_eq!(seen, up);
        }
    }
}
