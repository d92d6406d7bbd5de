//! Properties of the candidates and of each policy.

use std::collections::BTreeMap;

use proptest::prelude::*;
use webgateway_proto::model::Words;

use super::super::open_requests::OpenRequest;
use super::*;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// Backends that no other test uses, as the counts of open requests belong to the process.
fn backends(subnet: u8, n: usize) -> Vec<Backend> {
    (1..=n).map(|i| format!("[400:{subnet:x}::{i:x}]:80").parse().unwrap()).collect()
}

fn weights(of: &[Backend], weights: &[u16]) -> Weights {
    Weights::new(of.iter().copied().zip(weights.iter().map(|weight| u64::from(*weight)))).unwrap()
}

fn list<'a>(backends: &'a [Backend], balance: Balance, weights: &'a Weights) -> BackendList<'a> {
    BackendList { route: RouteId::from_bytes([1; 16]), backends, balance, weights, client: CLIENT }
}

fn set(mask: u32) -> BackendSet {
    BackendSet(mask)
}

/// Returns how often each index is chosen.
fn counts(choose: impl Fn() -> Option<usize>, times: usize) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    (0..times).for_each(|_| *counts.entry(choose().unwrap()).or_default() += 1);
    counts
}

#[test]
fn each_list_has_its_own_position() {
    let round_robin = RoundRobin::default();
    let (all, equal) = (backends(1, 3), Weights::default());
    let own = list(&all, Balance::RoundRobin, &equal);
    let other_route = BackendList { route: RouteId::from_bytes([2; 16]), ..own };
    let other_list = BackendList { backends: &all[..2], ..own };
    let lists = [(own, 0b111), (other_route, 0b111), (other_list, 0b11)];
    let next = |(list, mask): &(BackendList<'_>, u32)| round_robin.choose(list, set(*mask), true).unwrap();
    let firsts = lists.each_ref().map(next);
    for round in 1..7 {
        for ((list, mask), first) in lists.iter().zip(firsts) {
            let n = mask.count_ones() as usize;
            assert_eq!(next(&(*list, *mask)), (first + round) % n, "round {round}");
        }
    }
    let last = next(&lists[0]);
    round_robin.choose(&own, set(0b110), false).unwrap();
    assert_eq!(next(&lists[0]), (last + 1) % 3, "a further attempt takes nobody's turn");
}

#[test]
fn a_weighted_round_robin_is_exact_and_spread_evenly() {
    let all = backends(2, 3);
    let mut credits = vec![0; 3];
    let order: Vec<usize> =
        (0..7).filter_map(|_| smooth(set(0b111), &mut credits, |index| [5, 1, 1][index])).collect();
    assert_eq!(order, [0, 0, 1, 0, 2, 0, 0], "the example of nginx");
    let weights = weights(&all, &[5, 1, 3]);
    let round_robin = RoundRobin::default();
    let choose = || round_robin.choose(&list(&all, Balance::RoundRobin, &weights), set(0b111), true);
    for _ in 0..3 {
        assert_eq!(counts(choose, 9), [(0, 5), (1, 1), (2, 3)].into());
    }
}

#[test]
fn random_choices_are_in_proportion_to_the_weights() {
    let all = backends(3, 3);
    let weights = weights(&all, &[1, 2, 7]);
    let round_robin = RoundRobin::default();
    let choose = || round_robin.choose(&list(&all, Balance::Random, &weights), set(0b111), true);
    let counts = counts(choose, 10_000);
    // The standard deviations are 30, 40 and 46.
    for (index, expected) in [(0, 1000), (1, 2000), (2, 7000)] {
        assert!(counts[&index].abs_diff(expected) < 300, "{counts:?}");
    }
}

#[test]
fn the_backend_with_the_fewest_open_requests_per_weight_is_chosen() {
    for (weight, open, expected) in [
        ([1, 1, 1], [0, 0, 0], 0b111),
        ([1, 1, 1], [2, 1, 3], 0b010),
        ([1, 1, 1], [1, 1, 3], 0b011),
        ([4, 1, 1], [3, 1, 1], 0b001),
        ([4, 1, 1], [4, 1, 1], 0b111),
        ([4, 1, 1], [5, 1, 2], 0b010),
        ([256, 1, 1], [u32::MAX, u32::MAX, 0], 0b100),
    ] {
        let chosen = least(set(0b111), |index| weight[index], |index| open[index]);
        assert_eq!(chosen, set(expected), "{weight:?} {open:?}");
    }
    let (all, equal, round_robin) = (backends(4, 3), Weights::default(), RoundRobin::default());
    let choose = |among| round_robin.choose(&list(&all, Balance::LeastConnections, &equal), set(among), true);
    let open = [0, 0, 2].map(|index: usize| OpenRequest::new(all[index]));
    assert_eq!(counts(|| choose(0b111), 50), [(1, 50)].into());
    assert_eq!(counts(|| choose(0b101), 50), [(2, 50)].into());
    drop(open);
    assert_eq!(counts(|| choose(0b111), 300).len(), 3, "equal ones are all used");
}

proptest! {
    #[test]
    fn candidates_are_healthy_untried_and_serving(n in 0usize..=8, tried: u8, up: u8, drained: u8) {
        let (tried, up, drained) = (set(tried.into()), set(up.into()), set(drained.into()));
        let weight = |index| u16::from(!drained.contains(index));
        let found = candidates(n, tried, weight, |index| up.contains(index));
        let is_all_drained = (0..n).all(|index| drained.contains(index));
        let serves = |index: usize| is_all_drained || !drained.contains(index);
        for index in 0..n {
            let is_open = serves(index) && !tried.contains(index);
            let any_healthy = (0..n).any(|i| serves(i) && !tried.contains(i) && up.contains(i));
            prop_assert_eq!(found.contains(index), is_open && (up.contains(index) || !any_healthy));
        }
        prop_assert!(found.iter().all(|index| index < n));
    }

    #[test]
    fn every_policy_tries_each_serving_backend_once(
        n in 1usize..=8,
        up: u8,
        of in prop::collection::vec(0u16..=256, 8),
        client: [u8; 16],
    ) {
        let (all, round_robin, up) = (backends(5, n), RoundRobin::default(), set(up.into()));
        for balance in Balance::ALL {
            for weights in [Weights::default(), weights(&all, &of)] {
                let list = BackendList { client: client.into(), ..list(&all, *balance, &weights) };
                let weight = |index: usize| weights.of(all[index]);
                let (mut tried, mut order) = (BackendSet::default(), Vec::new());
                loop {
                    let among = candidates(n, tried, weight, |index| up.contains(index));
                    let Some(next) = round_robin.choose(&list, among, order.is_empty()) else { break };
                    prop_assert!(among.contains(next));
                    tried.insert(next);
                    order.push(next);
                }
                let serving = (0..n).filter(|index| weight(*index) > 0).count();
                prop_assert_eq!(order.len(), if serving == 0 { n } else { serving });
                let first_down = order.iter().position(|index| !up.contains(*index)).unwrap_or(order.len());
                prop_assert!(order[first_down..].iter().all(|index| !up.contains(*index)), "healthy ones first");
            }
        }
    }

    #[test]
    fn every_healthy_backend_is_chosen_in_turn(n in 1usize..=8, mask in 1u32..256) {
        let (all, equal, round_robin) = (backends(6, n), Weights::default(), RoundRobin::default());
        let among = candidates(n, BackendSet::default(), |_| 1, |index| set(mask).contains(index));
        let choose = || round_robin.choose(&list(&all, Balance::RoundRobin, &equal), among, true);
        let counts = counts(choose, among.len() * 3);
        prop_assert!(counts.len() == among.len() && counts.values().all(|times| *times == 3));
    }
}
