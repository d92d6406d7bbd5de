//! ACME challenges on the feed. A challenge is published while its guard lives; the store records only its host.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::error;
use webgateway_process::Stop;
use webgateway_proto::feed::{Challenge, Resource, ResourceName};
use webgateway_proto::model::Host;

use crate::store::change::{Change, ResourceChange};
use crate::store::{Store, StoreError, challenges};

/// The delay before the store is written again after a failure.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The challenges on the feed. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Challenges {
    store: Store,
    state: Arc<watch::Sender<ChallengesState>>,
}

/// A guard that keeps one challenge on the feed until it is dropped.
#[derive(Debug)]
#[must_use = "the challenge is withdrawn when this is dropped"]
pub(crate) struct ChallengeGuard {
    challenges: Challenges,
    host: Host,
    serial: u64,
}

/// A newer challenge for the same host replaced this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("another challenge for the same host replaced this one")]
pub(crate) struct SupersededError;

#[derive(Debug, Default)]
struct ChallengesState {
    serial: u64,
    /// The challenges that are to be on the feed.
    active: BTreeMap<Host, ActiveChallenge>,
    /// The last published change of each host's challenge.
    published: BTreeMap<Host, PublishedChange>,
    /// The version up to which published changes are committed to the store.
    committed: u64,
}

#[derive(Debug, Clone)]
struct ActiveChallenge {
    serial: u64,
    resource: Arc<Resource>,
}

#[derive(Debug, Clone)]
struct PublishedChange {
    /// The serial number of the published challenge; `None` after its removal.
    serial: Option<u64>,
    version: u64,
    change: Change,
}

impl Challenges {
    /// Creates an empty set of challenges. Each published change is a revision of `store`.
    #[must_use]
    pub(crate) fn new(store: Store) -> Self {
        Self { store, state: Arc::new(watch::Sender::new(ChallengesState::default())) }
    }

    /// Publishes a challenge on the feed. It replaces an older one for the same host.
    pub(crate) fn publish(&self, challenge: Challenge) -> ChallengeGuard {
        let host = challenge.host.clone();
        let resource = Arc::new(Resource::Challenge(challenge));
        let mut serial = 0;
        self.state.send_modify(|state| {
            state.serial += 1;
            serial = state.serial;
            state.active.insert(host.clone(), ActiveChallenge { serial, resource });
        });
        ChallengeGuard { challenges: self.clone(), host, serial }
    }

    /// Writes changes to the store, which gives them their versions, until the process stops. Challenges that are
    /// published at that time are removed at the next start.
    pub(crate) async fn follow(self, stop: Stop) -> Result<(), Infallible> {
        let mut state = self.state.subscribe();
        loop {
            tokio::select! {
                // The sender is never dropped: `self` has it.
                behind = state.wait_for(ChallengesState::is_behind) => drop(behind),
                () = stop.begun() => return Ok(()),
            }
            if let Err(error) = self.write_changes().await {
                error!(%error, "cannot publish challenges, retrying");
                sleep(RETRY_DELAY).await;
            }
        }
    }

    /// Returns the changes after the version `after`, up to `until`, which is the store's revision. Removals up to
    /// `after` are forgotten, because the catalog has them.
    pub(super) fn changes_between(&self, after: u64, until: u64) -> Vec<ResourceChange> {
        let mut changed = Vec::new();
        self.state.send_if_modified(|state| {
            changed = state.changes_between(after, until);
            false
        });
        changed
    }

    async fn write_changes(&self) -> Result<(), StoreError> {
        let (active, before) = {
            let state = self.state.borrow();
            (state.active.clone(), state.published.clone())
        };
        let (hosts, state): (Vec<Host>, _) = (active.keys().cloned().collect(), Arc::clone(&self.state));
        // Recorded before the commit, so that a reader of the new revision finds its changes.
        let write = move |tx: &mut crate::store::WriteTx<'_>| -> Result<u64, StoreError> {
            let version = challenges::record(tx, &hosts)?;
            state.send_modify(|state| state.record(&active, version));
            Ok(version)
        };
        match self.store.write("challenges", write).await {
            Ok(version) => {
                self.state.send_modify(|state| state.committed = version);
                Ok(())
            }
            Err(error) => {
                self.state.send_modify(|state| state.published = before);
                Err(error)
            }
        }
    }
}

impl ChallengeGuard {
    /// Returns the name of the challenge's resource.
    #[must_use]
    pub(crate) fn name(&self) -> ResourceName {
        ResourceName::Challenge(self.host.clone())
    }

    /// Waits until the challenge is on the feed and returns its version. Returns an error if a newer challenge for the
    /// same host replaced it.
    pub(crate) async fn version(&self) -> Result<u64, SupersededError> {
        let mut state = self.challenges.state.subscribe();
        let result = state.wait_for(|state| self.version_in(state) != Ok(None)).await;
        let version = result.map_err(|_| SupersededError).and_then(|state| self.version_in(&state))?;
        version.ok_or(SupersededError)
    }

    fn version_in(&self, state: &ChallengesState) -> Result<Option<u64>, SupersededError> {
        if state.active.get(&self.host).is_none_or(|active| active.serial != self.serial) {
            return Err(SupersededError);
        }
        let published =
            state.published.get(&self.host).filter(|published| published.serial == Some(self.serial));
        Ok(published.map(|published| published.version).filter(|version| *version <= state.committed))
    }
}

impl Drop for ChallengeGuard {
    fn drop(&mut self) {
        self.challenges.state.send_modify(|state| {
            if state.active.get(&self.host).is_some_and(|active| active.serial == self.serial) {
                state.active.remove(&self.host);
            }
        });
    }
}

impl ChallengesState {
    fn is_behind(&self) -> bool {
        let published = self.published.iter().filter_map(|(host, published)| Some((host, published.serial?)));
        !published.eq(self.active.iter().map(|(host, active)| (host, active.serial)))
    }

    fn changes_between(&mut self, after: u64, until: u64) -> Vec<ResourceChange> {
        self.published.retain(|_, published| published.serial.is_some() || published.version > after);
        let changes = self
            .published
            .iter()
            .filter(|(_, published)| published.version > after && published.version <= until);
        changes.map(|(host, published)| published.to_resource_change(host)).collect()
    }

    /// Records that the challenges `active` are published at `version`.
    fn record(&mut self, active: &BTreeMap<Host, ActiveChallenge>, version: u64) {
        for (host, published) in &mut self.published {
            if published.serial.is_some() && !active.contains_key(host) {
                *published =
                    PublishedChange { serial: None, version, change: Change::Remove { at_once: false } };
            }
        }
        for (host, ActiveChallenge { serial, resource }) in active {
            if self.published.get(host).is_none_or(|published| published.serial != Some(*serial)) {
                let change = Change::Put(Arc::clone(resource));
                self.published
                    .insert(host.clone(), PublishedChange { serial: Some(*serial), version, change });
            }
        }
    }
}

impl PublishedChange {
    fn to_resource_change(&self, host: &Host) -> ResourceChange {
        let name = ResourceName::Challenge(host.clone());
        ResourceChange { name, version: self.version, change: self.change.clone() }
    }
}

#[cfg(test)]
mod tests;
