//! The counts of one route on one worker.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use http::StatusCode;
use webgateway_proto::model::{LATENCY_BUCKETS, Traffic, latency_bucket};

/// The counts of one route since the last collection. They belong to one thread.
#[derive(Debug)]
pub(super) struct RouteCell {
    is_changed: Cell<bool>,
    responses: [Cell<u64>; 5],
    cancelled: Cell<u64>,
    connections: Cell<u64>,
    received: Cell<u64>,
    sent: Cell<u64>,
    latencies: [Cell<u64>; LATENCY_BUCKETS],
    errors: RefCell<Vec<(&'static str, u64)>>,
    /// The number of open connections at the last collection.
    pub(super) open: Cell<u64>,
    /// Is true while somebody follows the access log of the route.
    pub(super) is_followed: Cell<bool>,
}

fn add(count: &Cell<u64>, more: u64) {
    count.set(count.get().saturating_add(more));
}

impl RouteCell {
    /// Creates a cell without counts.
    pub(super) fn new(is_followed: bool) -> Self {
        Self {
            is_changed: Cell::default(),
            responses: Default::default(),
            cancelled: Cell::default(),
            connections: Cell::default(),
            received: Cell::default(),
            sent: Cell::default(),
            latencies: std::array::from_fn(|_| Cell::default()),
            errors: RefCell::default(),
            open: Cell::default(),
            is_followed: Cell::new(is_followed),
        }
    }

    /// Counts a response, and the time until its head.
    pub(super) fn count_response(&self, status: StatusCode, took: Duration) {
        self.is_changed.set(true);
        if let Some(count) = self.responses.get(usize::from(status.as_u16() / 100).wrapping_sub(1)) {
            add(count, 1);
        }
        if let Some(count) = self.latencies.get(latency_bucket(took)) {
            add(count, 1);
        }
    }

    /// Counts a request that has no response.
    pub(super) fn count_cancelled(&self) {
        self.is_changed.set(true);
        add(&self.cancelled, 1);
    }

    /// Counts a connection that is passed through.
    pub(super) fn count_connection(&self) {
        self.is_changed.set(true);
        add(&self.connections, 1);
    }

    /// Counts an error of this type (RFC 9209 §2.3).
    pub(super) fn count_error(&self, kind: &'static str) {
        self.is_changed.set(true);
        let mut errors = self.errors.borrow_mut();
        match errors.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => errors.push((kind, 1)),
        }
    }

    /// Counts bytes from the client.
    pub(super) fn add_received(&self, bytes: u64) {
        self.is_changed.set(true);
        add(&self.received, bytes);
    }

    /// Counts bytes to the client.
    pub(super) fn add_sent(&self, bytes: u64) {
        self.is_changed.set(true);
        add(&self.sent, bytes);
    }

    /// Returns whether something was counted since the last collection.
    pub(super) fn is_changed(&self) -> bool {
        self.is_changed.get()
    }

    /// Returns the counts, and begins anew.
    pub(super) fn take(&self) -> Traffic {
        self.is_changed.set(false);
        let mut traffic = Traffic {
            responses: self.responses.each_ref().map(Cell::take),
            cancelled: self.cancelled.take(),
            connections: self.connections.take(),
            received: self.received.take(),
            sent: self.sent.take(),
            ..Traffic::default()
        };
        for (bucket, count) in self.latencies.iter().enumerate() {
            traffic.latencies.add_to_bucket(bucket, count.take());
        }
        self.errors.borrow_mut().drain(..).for_each(|(kind, count)| traffic.add_errors(kind, count));
        traffic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_is_taken_once() {
        let cell = RouteCell::new(false);
        assert!(!cell.is_changed());
        for (status, took) in [(200, 70), (204, 70), (101, 1), (599, 5_000_000), (700, 1)] {
            let status = StatusCode::from_u16(status).unwrap();
            cell.count_response(status, Duration::from_micros(took));
        }
        cell.count_cancelled();
        cell.count_connection();
        ["a", "b", "a"].iter().for_each(|kind| cell.count_error(kind));
        cell.add_received(3);
        cell.add_sent(u64::MAX);
        cell.add_sent(1);
        assert!(cell.is_changed());
        let traffic = cell.take();
        assert_eq!(traffic.responses, [1, 2, 0, 0, 1]);
        assert_eq!((traffic.requests(), traffic.connections), (5, 1));
        assert_eq!((traffic.received, traffic.sent), (3, u64::MAX));
        assert_eq!(traffic.errors.into_iter().collect::<Vec<_>>(), [("a".into(), 2), ("b".into(), 1)]);
        assert_eq!(traffic.latencies.buckets().map(|(_, count)| count).sum::<u64>(), 5);
        assert!(!cell.is_changed() && cell.take().is_empty());
    }
}
