//! Choosing a backend. Pure: the chance and the turn are given.

use std::cell::RefCell;
use std::collections::HashMap;

use webgateway_proto::model::{Backend, Balance, RouteId};

/// Whose turn it is on each route of one worker.
#[derive(Debug, Default)]
pub(crate) struct RoundRobin(RefCell<HashMap<RouteId, usize>>);

/// Beyond that many routes the turns start over, so that routes long gone do not pile up.
const MAX_TURNS: usize = 65_536;

impl RoundRobin {
    /// The number to choose by: the next turn, or chance. A route with one backend needs none.
    pub(crate) fn next(&self, route: RouteId, balance: Balance, backends: usize) -> usize {
        match balance {
            _ if backends < 2 => 0,
            Balance::Random => fastrand::usize(..),
            Balance::RoundRobin => {
                let mut turns = self.0.borrow_mut();
                if turns.len() >= MAX_TURNS {
                    turns.clear();
                }
                let turn = turns.entry(route).or_insert_with(|| fastrand::usize(..));
                *turn = turn.wrapping_add(1);
                *turn
            }
        }
    }
}

/// The backends to try, at most two, in order: the `turn`th of those that answer, then another. When none
/// answers, all count as answering: it is better to ask than to refuse.
#[must_use]
pub(crate) fn candidates(
    backends: &[Backend],
    turn: usize,
    is_up: impl Fn(Backend) -> bool,
) -> [Option<Backend>; 2] {
    let up = backends.iter().filter(|backend| is_up(**backend)).count();
    let counts = |backend: &&Backend| up == 0 || is_up(**backend);
    let usable = if up == 0 { backends.len() } else { up };
    let Some(first) = turn.checked_rem(usable) else { return [None, None] };
    let nth = |n: usize| backends.iter().filter(counts).nth(n).copied();
    let second = (backends.len() > 1).then(|| {
        // Any other one: up if there is one, else a failing one.
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
    fn turns_go_round_per_route() {
        let turns = RoundRobin::default();
        let (a, b) = (RouteId::from_bytes([1; 16]), RouteId::from_bytes([2; 16]));
        let next = |route| turns.next(route, Balance::RoundRobin, 2) % 2;
        let (first_a, first_b) = (next(a), next(b));
        for round in 1..6 {
            assert_eq!((next(a) + first_a) % 2, round % 2);
            assert_eq!((next(b) + first_b) % 2, round % 2);
        }
    }

    proptest! {
        #[test]
        fn the_first_is_up_if_any_is_and_the_second_is_another(n in 0usize..8, turn: usize, mask: u8) {
            let all = backends(n);
            let is_up = |backend: Backend| {
                let at = all.iter().position(|b| *b == backend).unwrap();
                mask & (1 << at) != 0
            };
            let [first, second] = candidates(&all, turn, is_up);
            prop_assert_eq!(first.is_some(), n > 0);
            prop_assert_eq!(second.is_some(), n > 1);
            if let Some(first) = first {
                prop_assert!(is_up(first) || all.iter().all(|b| !is_up(*b)));
                prop_assert_ne!(Some(first), second);
            }
        }

        #[test]
        fn every_backend_that_answers_has_its_turn(n in 1usize..8, mask in 1u8..) {
            let all = backends(n);
            let up: Vec<Backend> = all.iter().enumerate().filter(|(i, _)| mask & (1 << i) != 0).map(|(_, b)| *b).collect();
            prop_assume!(!up.is_empty());
            let mut seen: Vec<Backend> = (0..up.len()).filter_map(|turn| candidates(&all, turn, |b| up.contains(&b))[0]).collect();
            seen.sort();
            prop_assert_eq!(seen, up);
        }
    }
}
