//! The limits on each client network, which all workers of the node share.
//!
//! Connections are counted in shards with a lock each, which is held for some 50 ns at the start and at the end of a
//! connection. A network occupies memory while it has open connections or less than its full allowance of handshakes. A
//! connection uses up one handshake, which is back after at most a second, so the memory is bounded by the connections
//! that are open or were accepted within the last second, however many networks they come from.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;
use webgateway_process::Network;

use crate::config::NetworkQuota;
use crate::metrics::Refusal;

/// The number of shards.
const SHARDS: usize = 64;
/// The number of networks in a shard below which unused ones are not removed.
const MIN_SWEPT: usize = 64;
/// The open connections and recent handshakes of all client networks. Clones share them.
#[derive(Clone)]
pub(crate) struct NetworkLimits(Arc<NetworkLimitsInner>);

struct NetworkLimitsInner {
    hasher: RandomState,
    shards: [Shard; SHARDS],
    /// The number of networks with open connections.
    networks: Gauge,
}

/// One shard, in cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<NetworkTable>);

#[derive(Default)]
struct NetworkTable {
    by_network: HashMap<Network, NetworkUsage>,
    /// The number of networks at which unused ones are removed.
    sweep_at: usize,
}

/// The usage of one network.
struct NetworkUsage {
    open: u32,
    /// The time at which the full allowance of handshakes is available.
    full_at: Instant,
}

/// An open connection that counts for its network until it is dropped.
pub(crate) struct NetworkConnection {
    limits: NetworkLimits,
    network: Network,
}

impl NetworkLimits {
    /// Creates the limits. `networks` is the gauge of networks with open connections.
    #[must_use]
    pub(crate) fn new(networks: Gauge) -> Self {
        let shards = std::array::from_fn(|_| Shard::default());
        Self(Arc::new(NetworkLimitsInner { hasher: RandomState::new(), shards, networks }))
    }

    /// Counts a new connection of `client`, which begins a TLS handshake if `is_handshake`.
    ///
    /// # Errors
    ///
    /// Fails with the reason if the client's network is at a limit of `quota`. Nothing is counted then.
    pub(crate) fn admit(
        &self,
        client: IpAddr,
        quota: NetworkQuota,
        is_handshake: bool,
        now: Instant,
    ) -> Result<NetworkConnection, Refusal> {
        let network = Network::of(client);
        let is_first = self.table(network).admit(network, quota, is_handshake, now)?;
        if is_first {
            self.0.networks.inc();
        }
        Ok(NetworkConnection { limits: self.clone(), network })
    }

    fn table(&self, network: Network) -> MutexGuard<'_, NetworkTable> {
        let hash = self.0.hasher.hash_one(network);
        // The remainder is always within the array.
        let shard = usize::try_from(hash % SHARDS as u64).ok().and_then(|index| self.0.shards.get(index));
        let Shard(table) = shard.unwrap_or(&self.0.shards[0]);
        table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NetworkTable {
    /// Counts a connection. Returns true if it is the only open one of its network.
    fn admit(
        &mut self,
        network: Network,
        quota: NetworkQuota,
        is_handshake: bool,
        now: Instant,
    ) -> Result<bool, Refusal> {
        if self.by_network.len() >= self.sweep_at.max(MIN_SWEPT) && !self.by_network.contains_key(&network) {
            self.sweep(now);
        }
        let usage = self.by_network.entry(network).or_insert(NetworkUsage { open: 0, full_at: now });
        if quota.connections > 0 && usage.open >= quota.connections {
            return Err(Refusal::NetworkConnections);
        }
        if is_handshake && quota.handshakes > 0 {
            let one = Duration::from_secs(1) / quota.handshakes;
            let full_at = usage.full_at.max(now) + one;
            if full_at - now > one * quota.handshake_burst {
                return Err(Refusal::NetworkHandshakes);
            }
            usage.full_at = full_at;
        }
        usage.open += 1;
        Ok(usage.open == 1)
    }

    /// Uncounts a connection. Returns true if its network has no other open one.
    fn release(&mut self, network: Network, now: Instant) -> bool {
        let Some(usage) = self.by_network.get_mut(&network) else { return false };
        usage.open = usage.open.saturating_sub(1);
        let is_last = usage.open == 0;
        if is_last && usage.full_at <= now {
            self.by_network.remove(&network);
        }
        is_last
    }

    /// Removes the networks that have no open connections and their full allowance.
    fn sweep(&mut self, now: Instant) {
        self.by_network.retain(|_, usage| usage.open > 0 || usage.full_at > now);
        self.sweep_at = 2 * self.by_network.len();
        self.by_network.shrink_to(self.sweep_at);
    }
}

impl Drop for NetworkConnection {
    fn drop(&mut self) {
        if self.limits.table(self.network).release(self.network, Instant::now()) {
            self.limits.0.networks.dec();
        }
    }
}

impl std::fmt::Debug for NetworkConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("NetworkConnection").field(&self.network).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const QUOTA: NetworkQuota = NetworkQuota { connections: 3, handshakes: 10, handshake_burst: 5 };
    const NO_LIMIT: NetworkQuota = NetworkQuota { connections: 0, handshakes: 0, handshake_burst: 1 };

    const fn at_most(connections: u32) -> NetworkQuota {
        NetworkQuota { connections, ..QUOTA }
    }

    fn v4(network: u8, host: u8) -> IpAddr {
        Ipv4Addr::new(203, 0, network, host).into()
    }

    /// Returns an address of the `n`th /56 of a /32.
    fn v6(n: u32) -> IpAddr {
        let [_, a, b, c] = n.to_be_bytes();
        let high = u16::from_be_bytes([a, b]);
        Ipv6Addr::new(0x2001, 0xdb8, high, u16::from_be_bytes([c, 7]), 0, 0, 0, 1).into()
    }

    fn entries(limits: &NetworkLimits) -> usize {
        limits.0.shards.iter().map(|Shard(table)| table.lock().unwrap().by_network.len()).sum()
    }

    #[test]
    fn the_connections_of_a_network_are_limited_until_some_end() {
        let (gauge, now) = (Gauge::default(), Instant::now());
        let limits = NetworkLimits::new(gauge.clone());
        let admit = |client| limits.admit(client, QUOTA, false, now);
        let mut open: Vec<_> = (1..=3).map(|host| admit(v4(1, host)).unwrap()).collect();
        let mapped = match v4(1, 9) {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
            v6 @ IpAddr::V6(_) => v6,
        };
        for client in [v4(1, 1), v4(1, 200), mapped] {
            assert_eq!(admit(client).unwrap_err(), Refusal::NetworkConnections, "{client}");
        }
        let other = admit(v4(2, 1)).unwrap();
        assert_eq!(gauge.get(), 2);
        open.pop();
        open.push(admit(v4(1, 7)).unwrap());
        assert!(admit(v4(1, 8)).is_err());
        // A lowered limit ends no connection, and a raised one or none admits more.
        assert!(limits.admit(v4(1, 8), at_most(1), false, now).is_err());
        open.push(limits.admit(v4(1, 8), at_most(4), false, now).unwrap());
        open.push(limits.admit(v4(1, 8), NO_LIMIT, true, now).unwrap());
        drop((open, other));
        assert_eq!((gauge.get(), entries(&limits)), (0, 0));
    }

    #[test]
    fn the_handshakes_of_a_network_have_a_rate_and_a_burst() {
        let (limits, start) = (NetworkLimits::new(Gauge::default()), Instant::now());
        let count = |client: IpAddr, after: u64, quota| {
            let now = start + Duration::from_millis(after);
            (0..20).filter(|_| limits.admit(client, quota, true, now).is_ok()).count()
        };
        assert_eq!(count(v4(1, 1), 0, QUOTA), 5);
        assert_eq!(count(v4(2, 1), 0, QUOTA), 5, "another network");
        assert_eq!(count(v4(1, 2), 99, QUOTA), 0);
        assert_eq!(count(v4(1, 2), 100, QUOTA), 1);
        assert_eq!(count(v4(1, 1), 400, QUOTA), 3);
        assert_eq!(count(v4(1, 1), 60_000, QUOTA), 5, "no more than the burst");
        assert_eq!(count(v4(1, 1), 60_000, NO_LIMIT), 20);
        let plain = limits.admit(v4(1, 1), QUOTA, false, start + Duration::from_secs(60));
        assert!(plain.is_ok(), "a connection without TLS is no handshake");
        assert_eq!(
            limits.admit(v4(1, 1), QUOTA, true, start + Duration::from_secs(60)).unwrap_err(),
            Refusal::NetworkHandshakes
        );
    }

    #[test]
    fn many_networks_occupy_memory_only_while_they_are_connected() {
        const NETWORKS: u32 = 300_000;
        let gauge = Gauge::default();
        let (limits, start) = (NetworkLimits::new(gauge.clone()), Instant::now());
        let mut most = 0;
        for n in 0..NETWORKS {
            // 10,000 connections per second, each from a network of its own.
            let now = start + Duration::from_micros(100) * n;
            drop(limits.admit(v6(n), NetworkQuota { handshakes: 1, ..QUOTA }, true, now).unwrap());
            if n % 1000 == 0 {
                most = most.max(entries(&limits));
            }
        }
        assert!(most <= 3 * 10_000, "{most} networks of the last second");
        let open: Vec<_> = (0..10_000).map(|n| limits.admit(v6(n), QUOTA, false, start).unwrap()).collect();
        assert_eq!(gauge.get(), 10_000);
        drop(open);
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn threads_share_the_limit_and_release_what_they_took() {
        let gauge = Gauge::default();
        let limits = NetworkLimits::new(gauge.clone());
        let quota = at_most(100);
        let admitted = std::thread::scope(|scope| {
            let take = || -> Vec<_> {
                (0..1000).filter_map(|_| limits.admit(v4(1, 1), quota, false, Instant::now()).ok()).collect()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!((admitted.len(), gauge.get()), (100, 1));
        drop(admitted);
        assert_eq!((gauge.get(), entries(&limits)), (0, 0));
    }
}
