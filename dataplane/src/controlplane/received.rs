//! The memory for bodies of API requests that are still being received: shared by clients' networks, so that none keeps
//! the others out with bodies that never end.

use std::future::poll_fn;
use std::net::IpAddr;
use std::task::Poll;

use webgateway_process::{Network, Slot, Slots};

use crate::config::API_RECEIVED;

/// The memory that is taken at a time, in bytes: most bodies need no more.
const CHUNK: usize = 64 * 1024;

/// The memory for all bodies that are being received. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct ReceiveMemory(Slots<Network>);

impl Default for ReceiveMemory {
    fn default() -> Self {
        let chunks = API_RECEIVED / CHUNK;
        Self(Slots::new(chunks, chunks))
    }
}

impl ReceiveMemory {
    /// Begins a body from the client at `address`, which takes nothing yet.
    pub(super) fn body_of(&self, address: IpAddr) -> ReceivedBody {
        ReceivedBody { memory: self.0.clone(), network: Network::of(address), chunks: Vec::new() }
    }
}

/// The memory of one body; given back when dropped.
#[derive(Debug)]
pub(crate) struct ReceivedBody {
    memory: Slots<Network>,
    network: Network,
    chunks: Vec<Slot<Network>>,
}

impl ReceivedBody {
    /// Takes the memory for `bytes` in all. Where none is left, the network that holds most loses some of its oldest body.
    pub(crate) fn grow(&mut self, bytes: usize) {
        while self.chunks.len() * CHUNK < bytes {
            let (chunk, _) = self.memory.take_or_evict(self.network);
            self.chunks.push(chunk);
        }
    }

    /// Resolves when the memory went to another client; cancel-safe.
    pub(crate) async fn evicted(&mut self) {
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

    const LARGEST: usize = 1024 * 1024;

    fn body(memory: &ReceiveMemory, network: u8, bytes: usize) -> ReceivedBody {
        let mut body = memory.body_of(Ipv4Addr::new(192, 0, network, 1).into());
        body.grow(bytes);
        body
    }

    fn is_evicted(body: &mut ReceivedBody) -> bool {
        body.evicted().now_or_never().is_some()
    }

    #[test]
    fn a_network_with_bodies_that_never_end_keeps_no_other_out() {
        let memory = ReceiveMemory::default();
        let mut early = body(&memory, 1, LARGEST);
        let mut flood: Vec<ReceivedBody> =
            (0..2 * API_RECEIVED / LARGEST).map(|_| body(&memory, 2, LARGEST)).collect();
        let mut late: Vec<ReceivedBody> = (3..9).map(|network| body(&memory, network, LARGEST)).collect();
        assert!(!is_evicted(&mut early) && !late.iter_mut().any(is_evicted));
        assert!(is_evicted(&mut flood[0]), "the oldest of the network that holds most");
        let mut small: Vec<ReceivedBody> = (10..20).map(|network| body(&memory, network, 100)).collect();
        assert!(!small.iter_mut().chain([&mut early]).any(is_evicted));
    }

    #[test]
    fn a_body_takes_what_it_has_and_gives_it_back() {
        let memory = ReceiveMemory::default();
        for _ in 0..3 {
            let mut all: Vec<ReceivedBody> =
                (0..API_RECEIVED / LARGEST).map(|_| body(&memory, 1, LARGEST)).collect();
            assert!(!all.iter_mut().any(is_evicted), "what was dropped is free");
        }
        let mut idle = body(&memory, 1, 0);
        let _full: Vec<ReceivedBody> = (0..API_RECEIVED / CHUNK).map(|_| body(&memory, 2, 1)).collect();
        let mut more = body(&memory, 3, 1);
        assert!(!is_evicted(&mut idle) && !is_evicted(&mut more));
    }
}
