//! The number of open requests and tunnels of each backend on this node, for the policy `least_connections`.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use webgateway_proto::model::Backend;

use super::client_hash::mix;

/// The number of counters. Backends that share one, by chance, are less likely to be chosen.
const COUNTERS: usize = 65_536;

/// The counters of all workers, by a hash of the backend: they need neither a lock nor memory for each backend.
static OPEN: [AtomicU32; COUNTERS] = [const { AtomicU32::new(0) }; COUNTERS];

/// A request or tunnel that counts as open until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenRequest(&'static AtomicU32);

impl OpenRequest {
    /// Counts a request or tunnel to a backend.
    #[must_use]
    pub(crate) fn new(backend: Backend) -> Self {
        let counter = counter(backend);
        counter.fetch_add(1, Relaxed);
        Self(counter)
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Returns the number of open requests and tunnels of a backend.
#[must_use]
pub(super) fn open_requests(backend: Backend) -> u32 {
    counter(backend).load(Relaxed)
}

fn counter(backend: Backend) -> &'static AtomicU32 {
    let address = match backend.address().ip() {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    };
    // The casts split the address into its halves, and the hash into an index.
    let words = [(address >> 64) as u64, address as u64, backend.address().port().into()];
    let hash = words.into_iter().fold(0, |hash, word| mix(hash ^ word));
    &OPEN[hash as usize % COUNTERS]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_open_until_it_is_dropped() {
        let [one, two] = ["[400:7::1]:80", "[400:7::1]:81"].map(|text| text.parse::<Backend>().unwrap());
        let open = [one, one, two].map(OpenRequest::new);
        assert_eq!((open_requests(one), open_requests(two)), (2, 1));
        drop(open);
        assert_eq!((open_requests(one), open_requests(two)), (0, 0));
    }

    #[test]
    fn the_counters_of_neighbouring_backends_differ() {
        let backends =
            (0..64).flat_map(|host| (8080..8096).map(move |port| format!("[400::{host:x}]:{port}")));
        let counters: Vec<*const AtomicU32> =
            backends.map(|text| std::ptr::from_ref(counter(text.parse().unwrap()))).collect();
        let distinct: std::collections::HashSet<_> = counters.iter().collect();
        // Of 1024 in 65,536 places, 8 share one in expectation.
        assert!(distinct.len() > counters.len() - 40, "{} of {}", distinct.len(), counters.len());
    }
}
