//! A memory budget for clients' bodies, shared fairly among their networks.

use std::future::poll_fn;
use std::net::IpAddr;
use std::task::Poll;

use crate::network::Network;
use crate::slots::{Slot, Slots};

/// The unit of allocation, in bytes.
const CHUNK: usize = 64 * 1024;

/// A memory budget for clients' bodies. Clones share it.
#[derive(Debug, Clone)]
pub struct NetworkMemory(Slots<Network>);

/// The memory reserved for one client's body; released when dropped.
#[derive(Debug)]
pub struct MemoryReservation {
    memory: Slots<Network>,
    network: Network,
    chunks: Vec<Slot<Network>>,
}

impl NetworkMemory {
    /// Makes a budget of this many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let chunks = bytes / CHUNK;
        Self(Slots::new(chunks, chunks))
    }

    /// Makes an empty reservation for the client at `address`.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> MemoryReservation {
        MemoryReservation { memory: self.0.clone(), network: Network::of(address), chunks: Vec::new() }
    }
}

impl MemoryReservation {
    /// Grows the reservation to `bytes` in all. If the budget is exhausted, the network with the largest share loses
    /// its oldest memory.
    pub fn grow(&mut self, bytes: usize) {
        while self.chunks.len() * CHUNK < bytes {
            let (chunk, _) = self.memory.take_or_evict(self.network);
            self.chunks.push(chunk);
        }
    }

    /// Resolves when some of the memory was evicted in favour of another client; cancel-safe.
    pub async fn evicted(&mut self) {
        poll_fn(|cx| match self.chunks.iter_mut().any(|chunk| chunk.poll_evicted(cx).is_ready()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures_util::FutureExt as _;

    use super::*;

    const ALL: usize = 32 * LARGEST;
    const LARGEST: usize = 1024 * 1024;

    fn body(memory: &NetworkMemory, network: u8, bytes: usize) -> MemoryReservation {
        let mut body = memory.of(Ipv4Addr::new(192, 0, network, 1).into());
        body.grow(bytes);
        body
    }

    fn is_evicted(body: &mut MemoryReservation) -> bool {
        body.evicted().now_or_never().is_some()
    }

    #[test]
    fn a_network_that_exhausts_the_budget_does_not_exclude_others() {
        let memory = NetworkMemory::new(ALL);
        let mut early = body(&memory, 1, LARGEST);
        let mut flood: Vec<MemoryReservation> =
            (0..2 * ALL / LARGEST).map(|_| body(&memory, 2, LARGEST)).collect();
        let mut late: Vec<MemoryReservation> =
            (3..9).map(|network| body(&memory, network, LARGEST)).collect();
        assert!(!is_evicted(&mut early) && !late.iter_mut().any(is_evicted));
        assert!(is_evicted(&mut flood[0]), "the oldest of the network that holds most");
        let mut small: Vec<MemoryReservation> = (10..20).map(|network| body(&memory, network, 100)).collect();
        assert!(!small.iter_mut().chain([&mut early]).any(is_evicted));
    }

    #[test]
    fn a_dropped_reservation_is_released() {
        let memory = NetworkMemory::new(ALL);
        for _ in 0..3 {
            let mut all: Vec<MemoryReservation> =
                (0..ALL / LARGEST).map(|_| body(&memory, 1, LARGEST)).collect();
            assert!(!all.iter_mut().any(is_evicted), "what was dropped is free");
        }
        let mut idle = body(&memory, 1, 0);
        let _full: Vec<MemoryReservation> = (0..ALL / CHUNK).map(|_| body(&memory, 2, 1)).collect();
        let mut more = body(&memory, 3, 1);
        assert!(!is_evicted(&mut idle) && !is_evicted(&mut more));
    }
}
