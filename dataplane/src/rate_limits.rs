//! Rate limits by route and client network, on all workers of a node together. Memory is bounded, and no client can
//! reset the count of another one.
//!
//! Rates are counted by the generic cell rate algorithm: a cell stores the time at which its allowance is full again. A
//! cell whose time has passed is the same as none, so only such cells are removed. If a part of the table is full of
//! others, new networks share cells with their neighbours, so that a client with very many networks limits itself.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use webgateway_process::Network;
use webgateway_proto::model::RouteId;
use webgateway_proto::model::options::{RateLimit, RequestRate};

/// The number of independently locked parts of the table.
const SHARDS: usize = 64;
/// The number of cells in a part from which new networks share the cells of their neighbours.
const MAX_CELLS: usize = 4096;
/// The number of cells in a part from which clients without a cell are refused.
const MAX_SHARED_CELLS: usize = 2 * MAX_CELLS;
/// The minimum time between two removals of idle cells from a full part, in nanoseconds.
const SWEEP_INTERVAL: u64 = 100_000_000;
/// The time after which a client may try again whose concurrent requests are at the limit.
const RETRY_CONCURRENT: Duration = Duration::from_secs(1);

/// The counts of all routes with limits on a node.
#[derive(Debug)]
pub(crate) struct RateLimits {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    start: Instant,
}

/// A part of the table.
#[derive(Debug, Default)]
struct Shard {
    cells: HashMap<CellKey, Cell>,
    /// The time of the next removal of idle cells, in nanoseconds since the start.
    next_sweep: u64,
}

/// The thing that a cell counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    /// Requests, or connections of a passthrough route.
    Requests,
    /// Failures of basic authentication.
    SignInFailures,
}

/// The key of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct CellKey {
    route: RouteId,
    subject: Subject,
    network: Network,
    /// True if the cell is shared by the neighbours of `network`: its IPv4 /16, or its IPv6 /32.
    is_shared: bool,
}

/// The count of one client network on one route.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    /// The time at which the allowance is full again, in nanoseconds since the start.
    full_at: u64,
    /// The number of concurrent requests or connections.
    open: u32,
}

/// A client is above a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitExceededError {
    /// The time after which the client may try again.
    pub retry_after: Duration,
}

/// A request or a connection that counts against a limit until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    limits: Arc<RateLimits>,
    key: CellKey,
}

impl LimitExceededError {
    /// Returns the value of Retry-After, in whole seconds, at least 1.
    pub(crate) fn seconds(self) -> u32 {
        let millis = self.retry_after.as_millis();
        u32::try_from(millis.div_ceil(1000)).unwrap_or(u32::MAX).max(1)
    }
}

impl RateLimits {
    /// Counts a request, or a connection of a passthrough route. If their concurrent number is limited, it counts until
    /// the returned value is dropped.
    pub(crate) fn admit(
        self: &Arc<Self>,
        route: RouteId,
        client: IpAddr,
        limit: &RateLimit,
    ) -> Result<Option<OpenRequest>, LimitExceededError> {
        let key = CellKey::new(route, Subject::Requests, client);
        let connections = limit.connections();
        let key = self.update(key, self.now(), |cell, now| {
            if connections.is_some_and(|most| cell.open >= most.get()) {
                return Err(LimitExceededError { retry_after: RETRY_CONCURRENT });
            }
            limit.requests().map_or(Ok(()), |rate| cell.spend(now, rate))?;
            cell.open += u32::from(connections.is_some());
            Ok(())
        })?;
        Ok(connections.map(|_| OpenRequest { limits: Arc::clone(self), key }))
    }

    /// Counts a failed sign-in before it is known to fail, so that no more than the rate are under way. A success is
    /// given back with [`Self::return_sign_in`].
    pub(crate) fn spend_sign_in(
        &self,
        route: RouteId,
        client: IpAddr,
        rate: &RequestRate,
    ) -> Result<(), LimitExceededError> {
        let key = CellKey::new(route, Subject::SignInFailures, client);
        self.update(key, self.now(), |cell, now| cell.spend(now, rate)).map(drop)
    }

    /// Gives back what [`Self::spend_sign_in`] has counted, because it succeeded.
    pub(crate) fn return_sign_in(&self, route: RouteId, client: IpAddr, rate: &RequestRate) {
        let key = CellKey::new(route, Subject::SignInFailures, client);
        let returned = self.update(key, self.now(), |cell, _| {
            cell.full_at = cell.full_at.saturating_sub(nanos(rate.interval()));
            Ok(())
        });
        // It fails only if there is no cell, and then there is nothing to give back.
        let _ = returned;
    }

    fn now(&self) -> u64 {
        nanos(self.start.elapsed())
    }

    /// Changes the cell of a key, or the one that it shares. Returns the key of the changed cell.
    fn update(
        &self,
        key: CellKey,
        now: u64,
        change: impl Fn(&mut Cell, u64) -> Result<(), LimitExceededError>,
    ) -> Result<CellKey, LimitExceededError> {
        for (key, capacity) in [(key, MAX_CELLS), (key.shared(), MAX_SHARED_CELLS)] {
            let mut shard = self.shard(&key);
            if !shard.has_room(&key, capacity, now) {
                continue;
            }
            let mut cell = shard.cells.get(&key).copied().unwrap_or_default();
            let changed = change(&mut cell, now);
            shard.put(key, cell, now);
            return changed.map(|()| key);
        }
        Err(LimitExceededError { retry_after: RETRY_CONCURRENT })
    }

    fn shard(&self, key: &CellKey) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(key) as usize % self.shards.len();
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        let shards = std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        Self { shards, hasher: RandomState::new(), start: Instant::now() }
    }
}

impl Shard {
    /// Returns whether the key has a cell or may get one. Removes idle cells if that is necessary.
    fn has_room(&mut self, key: &CellKey, capacity: usize, now: u64) -> bool {
        if self.cells.len() < capacity || self.cells.contains_key(key) {
            return true;
        }
        if now >= self.next_sweep {
            self.cells.retain(|_, cell| !cell.is_idle(now));
            self.next_sweep = now + SWEEP_INTERVAL;
        }
        self.cells.len() < capacity
    }

    /// Stores a cell, or removes it if it is idle.
    fn put(&mut self, key: CellKey, cell: Cell, now: u64) {
        if cell.is_idle(now) {
            self.cells.remove(&key);
        } else {
            self.cells.insert(key, cell);
        }
    }
}

impl CellKey {
    fn new(route: RouteId, subject: Subject, client: IpAddr) -> Self {
        Self { route, subject, network: Network::of(client), is_shared: false }
    }

    /// Returns the key of the cell that the network shares with its neighbours.
    fn shared(self) -> Self {
        let network = match self.network {
            Network::V4([a, b, _]) => Network::V4([a, b, 0]),
            Network::V6([a, b, c, d, ..]) => Network::V6([a, b, c, d, 0, 0, 0]),
        };
        Self { network, is_shared: true, ..self }
    }
}

impl Cell {
    /// Returns whether the cell is the same as none.
    fn is_idle(self, now: u64) -> bool {
        self.open == 0 && self.full_at <= now
    }

    /// Spends one request of the allowance, which the burst bounds.
    fn spend(&mut self, now: u64, rate: &RequestRate) -> Result<(), LimitExceededError> {
        let (interval, burst) = (nanos(rate.interval()), u64::from(rate.burst().get()));
        // A rate that was raised meanwhile has no debt beyond its own burst.
        self.full_at = self.full_at.clamp(now, now + interval * burst);
        let debt = self.full_at - now;
        if let Some(excess) = debt.checked_sub(interval * (burst - 1)).filter(|excess| *excess > 0) {
            return Err(LimitExceededError { retry_after: Duration::from_nanos(excess) });
        }
        self.full_at += interval;
        Ok(())
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let now = self.limits.now();
        let mut shard = self.limits.shard(&self.key);
        if let Some(mut cell) = shard.cells.get(&self.key).copied() {
            cell.open = cell.open.saturating_sub(1);
            shard.put(self.key, cell, now);
        }
    }
}

/// Returns a duration in nanoseconds; at most 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn route(n: u8) -> RouteId {
        RouteId::from_bytes([n; 16])
    }

    fn key(n: u8, client: &str) -> CellKey {
        CellKey::new(route(n), Subject::Requests, client.parse().unwrap())
    }

    fn spend(limits: &RateLimits, key: CellKey, now: u64, rate: &RequestRate) -> Result<(), Duration> {
        let spent = limits.update(key, now, |cell, now| cell.spend(now, rate));
        spent.map(drop).map_err(|exceeded| exceeded.retry_after)
    }

    #[test]
    fn a_burst_is_admitted_and_then_the_rate() {
        for (requests, burst) in [(10.0, 1), (10.0, 5), (0.5, 3), (1000.0, 100_000), (0.001, 100_000)] {
            let rate = RequestRate::new(requests, Some(burst)).unwrap();
            let (limits, key) = (RateLimits::default(), key(1, "192.0.2.1"));
            let now = 5 * SECOND;
            for _ in 0..burst {
                assert_eq!(spend(&limits, key, now, &rate), Ok(()), "{requests}/s, burst {burst}");
            }
            let wait = spend(&limits, key, now, &rate).unwrap_err();
            assert_eq!(wait, rate.interval(), "{requests}/s, burst {burst}");
            let later = now + nanos(wait);
            assert!(spend(&limits, key, later - 1, &rate).is_err());
            assert_eq!(spend(&limits, key, later, &rate), Ok(()));
            assert!(spend(&limits, key, later, &rate).is_err());
        }
    }

    #[test]
    fn routes_networks_and_subjects_are_counted_apart() {
        let rate = RequestRate::new(1.0, Some(1)).unwrap();
        let limits = RateLimits::default();
        let failures = CellKey { subject: Subject::SignInFailures, ..key(1, "192.0.2.1") };
        for distinct in [
            key(1, "192.0.2.1"),
            key(2, "192.0.2.1"),
            key(1, "192.0.3.1"),
            key(1, "2001:db8::1"),
            key(1, "2001:db8:0:100::1"),
            failures,
        ] {
            assert_eq!(spend(&limits, distinct, 0, &rate), Ok(()), "{distinct:?}");
        }
        for same in [key(1, "192.0.2.9"), key(1, "::ffff:192.0.2.7"), key(1, "2001:db8:0:ff::2")] {
            assert!(spend(&limits, same, 0, &rate).is_err(), "{same:?}");
        }
    }

    #[test]
    fn a_changed_rate_keeps_the_count_within_its_own_burst() {
        let (limits, key) = (RateLimits::default(), key(1, "192.0.2.1"));
        let slow = RequestRate::new(0.001, Some(10)).unwrap();
        (0..10).for_each(|_| spend(&limits, key, 0, &slow).unwrap());
        let fast = RequestRate::new(10.0, Some(2)).unwrap();
        assert_eq!(spend(&limits, key, 0, &fast), Err(Duration::from_millis(100)));
        assert_eq!(spend(&limits, key, SECOND / 10, &fast), Ok(()));
    }

    #[test]
    fn concurrent_requests_are_counted_until_they_end() {
        let limits = Arc::new(RateLimits::default());
        let limit = RateLimit::new(None, None, Some(2)).unwrap();
        let client = "192.0.2.1".parse().unwrap();
        let open = || limits.admit(route(1), client, &limit);
        let (first, _second) = (open().unwrap().unwrap(), open().unwrap().unwrap());
        assert_eq!(open().unwrap_err().seconds(), 1);
        drop(first);
        let third = open().unwrap().unwrap();
        assert!(open().is_err());
        let both = RateLimit::new(Some(0.001), Some(1), Some(3)).unwrap();
        let rated = limits.admit(route(1), client, &both).unwrap();
        assert!(limits.admit(route(1), client, &both).is_err(), "a full route spends nothing");
        drop((third, rated));
        assert_eq!(limits.admit(route(1), client, &both).unwrap_err().seconds(), 1000);
    }

    #[test]
    fn a_count_that_is_over_takes_no_memory() {
        let limits = Arc::new(RateLimits::default());
        let limit = RateLimit::new(None, None, Some(2)).unwrap();
        let open: Vec<_> =
            (0..=255).map(|n| limits.admit(route(n), "::1".parse().unwrap(), &limit)).collect();
        drop(open);
        assert!(limits.shards.iter().all(|shard| shard.lock().unwrap().cells.is_empty()));
    }

    #[test]
    fn very_many_networks_neither_reset_a_count_nor_exhaust_the_memory() {
        let rate = RequestRate::new(0.01, Some(1)).unwrap();
        let (limits, honest) = (RateLimits::default(), key(1, "192.0.2.1"));
        assert_eq!(spend(&limits, honest, 0, &rate), Ok(()));
        let attacker = |n: u32| {
            let [a, b, c, d] = n.to_be_bytes();
            let network = Network::V6([0x20, 1, a % 2, b % 4, b, c, d]);
            CellKey { network, ..honest }
        };
        let count = u32::try_from(2 * SHARDS * MAX_CELLS).unwrap();
        let admitted = (0..count).filter(|n| spend(&limits, attacker(*n), 0, &rate).is_ok()).count();
        let cells: usize = limits.shards.iter().map(|shard| shard.lock().unwrap().cells.len()).sum();
        assert!(cells <= SHARDS * (MAX_CELLS + 64), "{cells}");
        assert!(admitted < SHARDS * (MAX_CELLS + 64), "the attacker's networks share their allowance");
        assert!(spend(&limits, honest, 0, &rate).is_err(), "the count is not reset");
        let newcomer = key(1, "198.51.100.1");
        assert_eq!(spend(&limits, newcomer, 0, &rate), Ok(()), "others are not refused");
        let later = nanos(rate.interval());
        assert_eq!(spend(&limits, attacker(count), later, &rate), Ok(()));
        assert!(limits.shards.iter().any(|shard| shard.lock().unwrap().cells.len() < MAX_CELLS));
    }
}
