//! The counts of a route's traffic, which can be added up over workers, nodes and time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::latency::Latencies;

/// The maximum number of kinds of errors that are counted apart. RFC 9209 §2.3 defines fewer.
pub const MAX_ERROR_KINDS: usize = 48;
/// The kind of the errors that are not counted apart.
pub const OTHER_ERROR: &str = "other";

/// The counts of the traffic of one route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// The responses by class of status, from 1xx to 5xx.
    pub responses: [u64; 5],
    /// The requests that ended before they had a response, because the client went away.
    #[serde(skip_serializing_if = "is_zero")]
    pub cancelled: u64,
    /// The connections that were passed through.
    #[serde(skip_serializing_if = "is_zero")]
    pub connections: u64,
    /// The errors by their type (RFC 9209 §2.3).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub errors: BTreeMap<String, u64>,
    /// The bytes that clients sent: of bodies and tunnels.
    #[serde(skip_serializing_if = "is_zero")]
    pub received: u64,
    /// The bytes that clients were sent: of bodies and tunnels.
    #[serde(skip_serializing_if = "is_zero")]
    pub sent: u64,
    /// The times from requests to the heads of their responses.
    pub latencies: Latencies,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde needs")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Traffic {
    /// Returns the number of requests, with and without a response.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.responses.iter().fold(self.cancelled, |sum, count| sum.saturating_add(*count))
    }

    /// Returns the number of bytes in both directions.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.received.saturating_add(self.sent)
    }

    /// Returns whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Counts errors of one kind. At most [`MAX_ERROR_KINDS`] kinds are counted apart.
    pub fn add_errors(&mut self, kind: &str, count: u64) {
        let apart = self.errors.len() - usize::from(self.errors.contains_key(OTHER_ERROR));
        let is_apart = apart < MAX_ERROR_KINDS || self.errors.contains_key(kind);
        let total = self.errors.entry(if is_apart { kind } else { OTHER_ERROR }.to_owned()).or_default();
        *total = total.saturating_add(count);
    }

    /// Adds the counts of other traffic.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.responses.iter_mut().zip(other.responses) {
            *sum = sum.saturating_add(count);
        }
        self.cancelled = self.cancelled.saturating_add(other.cancelled);
        self.connections = self.connections.saturating_add(other.connections);
        self.received = self.received.saturating_add(other.received);
        self.sent = self.sent.saturating_add(other.sent);
        self.latencies.add(&other.latencies);
        other.errors.iter().for_each(|(kind, count)| self.add_errors(kind, *count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_adds_up_and_survives_json() {
        let mut one = Traffic { responses: [0, 2, 0, 1, 0], received: 5, sent: 7, ..Traffic::default() };
        one.add_errors("connection_refused", 1);
        one.latencies.add_to_bucket(9, 3);
        let mut two = Traffic { cancelled: 1, connections: 4, ..one.clone() };
        two.add(&one);
        assert_eq!((two.requests(), two.bytes(), two.connections), (7, 24, 4));
        assert_eq!(two.errors["connection_refused"], 2);
        let text = serde_json::to_string(&two).unwrap();
        assert_eq!(serde_json::from_str::<Traffic>(&text).unwrap(), two, "{text}");
        assert_eq!(serde_json::from_str::<Traffic>("{}").unwrap(), Traffic::default());
        assert!(Traffic::default().is_empty() && !one.is_empty());
    }

    #[test]
    fn the_kinds_of_errors_are_bounded() {
        let mut traffic = Traffic::default();
        (0..100).for_each(|kind| traffic.add_errors(&format!("kind_{kind}"), 1));
        assert_eq!(traffic.errors.len(), MAX_ERROR_KINDS + 1);
        assert_eq!(traffic.errors.values().sum::<u64>(), 100);
    }
}
