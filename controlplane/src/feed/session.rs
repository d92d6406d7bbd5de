//! What one node holds, was told and could not use: one batch at a time, and what changes meanwhile is merged.

use std::collections::BTreeMap;

use thiserror::Error;
use webgateway_proto::feed::FeedVersion;

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
    told: Option<FeedVersion>,
    greeted: bool,
    awaited: Option<FeedVersion>,
    acked: u64,
    clean: u64,
    rejects: BTreeMap<String, String>,
    unlisted: u64,
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
    pub(crate) fn new(held: Option<FeedVersion>) -> Self {
        Self { told: held, ..Self::default() }
    }

    /// The next batch, if the node has answered the last one and there is something to tell. The first one comes
    /// also when there is not, so that the node learns that it is up to date.
    pub(crate) fn next(&mut self, catalog: &Catalog) -> Option<Batch> {
        let news = self.told.as_ref().is_none_or(|told| told.version != catalog.version());
        if self.awaited.is_some() || (self.greeted && !news) {
            return None;
        }
        let batch = diff(catalog, self.told.as_ref());
        self.greeted = true;
        self.awaited = Some(batch.end());
        self.rejects.retain(|resource, _| !resource.parse().is_ok_and(|name| batch.tells_of(&name)));
        if batch.is_full() {
            self.rejects.clear();
            self.unlisted = 0;
        }
        Some(batch)
    }

    /// The node cannot use one resource.
    pub(crate) fn reject(&mut self, resource: String, reason: &str) {
        if self.rejects.len() >= MAX_REJECTS && !self.rejects.contains_key(&resource) {
            self.unlisted += 1;
            return;
        }
        self.rejects.insert(resource, reason.chars().take(MAX_REASON).collect());
    }

    /// The node has answered the batch that ended with `version`.
    pub(crate) fn ack(&mut self, version: u64) -> Result<(), ProtocolError> {
        let Some(held) = self.awaited.take_if(|held| held.version == version) else {
            return Err(ProtocolError::Ack(version));
        };
        self.told = Some(held);
        self.acked = version;
        if self.rejects.is_empty() && self.unlisted == 0 {
            self.clean = version;
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
        self.clean
    }

    /// What the node cannot use, by resource, and why.
    #[must_use]
    pub(crate) fn rejects(&self) -> &BTreeMap<String, String> {
        &self.rejects
    }
}

#[cfg(test)]
mod tests;
