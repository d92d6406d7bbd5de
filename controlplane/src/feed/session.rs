//! What one node holds, was base and could not use: one batch at a time, and what changes meanwhile is merged.

use std::collections::BTreeMap;

use thiserror::Error;
use webgateway_proto::feed::Held;

use super::catalog::Catalog;
use super::diff::{Batch, diff};

/// How many rejects of one node are remembered by name.
const MAX_REJECTS: usize = 100;
/// How much of a reject's reason is kept, in characters.
const MAX_REASON: usize = 300;

/// The state of one node's stream. It holds no resource: a node that is slow costs the same as one that is not.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// What the next batch starts from; `None` before the first is acknowledged and the node held nothing.
    base: Option<Held>,
    has_sent: bool,
    in_flight: Option<Held>,
    acked: u64,
    held: u64,
    rejects: BTreeMap<String, String>,
    unlisted_rejects: u64,
}

/// A message that no well-behaved node sends.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ProtocolError {
    /// An ack for something else than the batch that is out.
    #[error("version {0} was acknowledged, which is not the batch that was sent")]
    Ack(u64),
}

impl Session {
    /// A node that says it holds this.
    #[must_use]
    pub(crate) fn new(held: Option<Held>) -> Self {
        Self { base: held, ..Self::default() }
    }

    /// The next batch, if the node has answered the last one and there is something to tell. The first one comes
    /// also when there is not, so that the node learns that it is up to date.
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

    /// The node cannot use one resource.
    pub(crate) fn reject(&mut self, resource: String, reason: &str) {
        if self.rejects.len() >= MAX_REJECTS && !self.rejects.contains_key(&resource) {
            self.unlisted_rejects += 1;
            return;
        }
        self.rejects.insert(resource, reason.chars().take(MAX_REASON).collect());
    }

    /// The node has answered the batch that ended with `version`.
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

    /// The last version the node answered, whether or not it could use all of it.
    #[must_use]
    pub(crate) fn acked(&self) -> u64 {
        self.acked
    }

    /// The last version the node holds whole.
    #[must_use]
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// What the node cannot use, by resource, and why.
    #[must_use]
    pub(crate) fn rejects(&self) -> &BTreeMap<String, String> {
        &self.rejects
    }
}

#[cfg(test)]
mod tests;
