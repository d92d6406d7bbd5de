//! The synchronization state of one node's stream: one batch is in flight at a time, and later changes are merged into
//! the next batch.

use std::collections::BTreeMap;

use thiserror::Error;
use webgateway_proto::feed::FeedVersion;

use super::catalog::Catalog;
use super::diff::{Batch, diff};

/// The maximum number of rejects of one node that are kept by resource name.
const MAX_REJECTS: usize = 100;
/// The maximum length of a reject's reason, in characters. Longer reasons are truncated.
const MAX_REASON: usize = 300;

/// The state of one node's stream. It contains no resources, so that a slow node needs no more memory than a fast one.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// The position from which the next batch starts; `None` if the node has nothing.
    base: Option<FeedVersion>,
    has_sent: bool,
    /// The position after the batch that is not acknowledged yet.
    in_flight: Option<FeedVersion>,
    acked: u64,
    /// The last version that was acknowledged while the node had no rejected resources.
    held: u64,
    rejects: BTreeMap<String, String>,
    /// The number of rejects beyond [`MAX_REJECTS`].
    unlisted_rejects: u64,
}

/// A message violates the protocol of the feed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ProtocolError {
    /// The acknowledged version is not that of the batch in flight.
    #[error("version {0} was acknowledged, which is not the version of the batch in flight")]
    Ack(u64),
}

impl Session {
    /// Creates the state of a node that reports `held` as its position.
    #[must_use]
    pub(crate) fn new(held: Option<FeedVersion>) -> Self {
        Self { base: held, ..Self::default() }
    }

    /// Returns the next batch, if no batch is in flight and something has changed. The first batch is sent even if
    /// nothing has changed, so that the node learns that it is up to date.
    pub(crate) fn next(&mut self, catalog: &Catalog) -> Option<Batch> {
        let is_behind = self.base.as_ref().is_none_or(|base| base.version != catalog.version());
        if self.in_flight.is_some() || (self.has_sent && !is_behind) {
            return None;
        }
        let batch = diff(catalog, self.base.as_ref());
        self.has_sent = true;
        self.in_flight = Some(batch.end());
        self.rejects.retain(|resource, _| !resource.parse().is_ok_and(|name| batch.affects(&name)));
        if batch.is_full() {
            self.rejects.clear();
            self.unlisted_rejects = 0;
        }
        Some(batch)
    }

    /// Records that the node rejected a resource.
    pub(crate) fn reject(&mut self, resource: String, reason: &str) {
        if self.rejects.len() >= MAX_REJECTS && !self.rejects.contains_key(&resource) {
            self.unlisted_rejects += 1;
            return;
        }
        self.rejects.insert(resource, reason.chars().take(MAX_REASON).collect());
    }

    /// Records that the node acknowledged the batch in flight, which ended with `version`.
    pub(crate) fn ack(&mut self, version: u64) -> Result<(), ProtocolError> {
        let Some(held) = self.in_flight.take_if(|held| held.version == version) else {
            return Err(ProtocolError::Ack(version));
        };
        self.base = Some(held);
        self.acked = version;
        if self.rejects.is_empty() && self.unlisted_rejects == 0 {
            self.held = version;
        }
        Ok(())
    }

    /// Returns the last version that the node acknowledged, with or without rejected resources.
    #[must_use]
    pub(crate) fn acked(&self) -> u64 {
        self.acked
    }

    /// Returns the last version that the node acknowledged while it had no rejected resources, of this batch or
    /// earlier.
    #[must_use]
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// Returns the reasons of the node's rejects, by resource name.
    #[must_use]
    pub(crate) fn rejects(&self) -> &BTreeMap<String, String> {
        &self.rejects
    }
}

#[cfg(test)]
mod tests;
