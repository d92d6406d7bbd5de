//! Rendezvous hashing: every node chooses the same backend for the clients of a network, without any state, and a
//! backend that is removed or unhealthy moves its own clients only.

use std::net::IpAddr;

use webgateway_proto::model::Backend;

/// Chooses the backend with the highest score for a client, of `backends` with their indices and weights. In
/// expectation, each has a share of the clients in proportion to its weight.
pub(super) fn choose(client: IpAddr, backends: impl Iterator<Item = (usize, Backend, u16)>) -> Option<usize> {
    let network = network(client);
    let scored = backends.map(|(index, backend, weight)| (index, score(network, backend, weight)));
    scored.max_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(index, _)| index)
}

/// Returns a number for the network of a client: the first 24 bits of an IPv4 address, or the first 56 of an IPv6
/// address.
fn network(client: IpAddr) -> u64 {
    match client.to_canonical() {
        // No global IPv6 address begins with 56 bits whose first 32 are 0.
        IpAddr::V4(address) => u64::from(address.to_bits() >> 8),
        // The cast keeps the last 64 bits, of which 56 are left.
        IpAddr::V6(address) => (address.to_bits() >> 72) as u64,
    }
}

/// Returns the score of a backend: `-weight / ln(hash)` for a hash between 0 and 1 (Thaler and Ravishankar; weighted by
/// Schindelhauer and Schomaker).
fn score(network: u64, backend: Backend, weight: u16) -> f64 {
    let address = match backend.address().ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    };
    // The casts split the address into its halves.
    let words = [(address >> 64) as u64, address as u64, backend.address().port().into()];
    let hash = words.into_iter().fold(mix(network), |hash, word| mix(hash ^ word));
    // The first 32 bits are enough to order 32 backends.
    let uniform = (f64::from((hash >> 32) as u32) + 0.5) / (f64::from(u32::MAX) + 1.0);
    -f64::from(weight) / uniform.ln()
}

/// Mixes the bits of a word (SplitMix64). Every build must compute the same, so it is not the hash of the standard
/// library, which may change.
pub(super) const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn backends(weights: &[u16]) -> Vec<(usize, Backend, u16)> {
        let backend = |index| format!("[400::{:x}]:80", index + 1).parse().unwrap();
        weights.iter().enumerate().map(|(index, weight)| (index, backend(index), *weight)).collect()
    }

    fn chosen(client: IpAddr, backends: &[(usize, Backend, u16)]) -> usize {
        choose(client, backends.iter().copied()).unwrap()
    }

    /// Returns the addresses of many networks.
    fn clients() -> impl Iterator<Item = IpAddr> {
        (0..2000).flat_map(|n: u32| {
            let v6 = u128::from(n) << 72 | 0x2001_0db8 << 96;
            [Ipv4Addr::from_bits(n << 8).into(), Ipv6Addr::from_bits(v6).into()]
        })
    }

    #[test]
    fn the_choice_is_the_same_in_every_build() {
        let all = backends(&[1, 1, 1, 1, 1]);
        let of = |text: &str| chosen(text.parse().unwrap(), &all);
        let choices = ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "2001:db8:1::1"].map(of);
        assert_eq!(choices, [1, 2, 1, 4, 3]);
    }

    #[test]
    fn the_clients_of_a_network_have_one_backend() {
        let all = backends(&[1; 32]);
        for (one, other) in [
            ("192.0.2.1", "192.0.2.254"),
            ("192.0.2.1", "::ffff:192.0.2.7"),
            ("2001:db8:0:100::1", "2001:db8:0:1ff:ffff::2"),
        ] {
            assert_eq!(chosen(one.parse().unwrap(), &all), chosen(other.parse().unwrap(), &all), "{one}");
        }
        let distinct: std::collections::HashSet<u64> = clients().map(network).collect();
        assert_eq!(distinct.len(), clients().count());
    }

    #[test]
    fn a_removed_backend_moves_its_own_clients_only_and_to_all_others() {
        let all = backends(&[1, 2, 3, 4]);
        let without: Vec<_> = all.iter().copied().filter(|(index, ..)| *index != 2).collect();
        let mut moved = std::collections::BTreeSet::new();
        for client in clients() {
            let (before, after) = (chosen(client, &all), chosen(client, &without));
            if before == 2 {
                moved.insert(after);
            } else {
                assert_eq!(before, after, "{client}");
            }
        }
        assert_eq!(moved, [0, 1, 3].into());
    }

    #[test]
    fn backends_have_clients_in_proportion_to_their_weights() {
        let all = backends(&[1, 2, 7]);
        let mut counts = [0_usize; 3];
        clients().for_each(|client| counts[chosen(client, &all)] += 1);
        // Of 4000 clients, with standard deviations of 19, 25 and 29.
        for (count, expected) in counts.into_iter().zip([400, 800, 2800]) {
            assert!(count.abs_diff(expected) < 120, "{counts:?}");
        }
    }
}
