//! Challenges: on the feed like any change, for as long as their guards live; in the store by host alone.

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

/// How long to wait when the store cannot be written.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The challenges of the moment. Clones are the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Challenges {
    store: Store,
    state: Arc<watch::Sender<ChallengesState>>,
}

/// One challenge, on the feed until this is dropped.
#[derive(Debug)]
#[must_use = "the challenge is taken back when this is dropped"]
pub(crate) struct ChallengeGuard {
    challenges: Challenges,
    host: Host,
    serial: u64,
}

/// A newer challenge for the same host has taken this one's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("another challenge for the same host took its place")]
pub(crate) struct SupersededError;

#[derive(Debug, Default)]
struct ChallengesState {
    serial: u64,
    /// What is to be shown.
    active: BTreeMap<Host, ActiveChallenge>,
    /// What the feed says of it.
    published: BTreeMap<Host, PublishedChange>,
    /// What was published up to this version is in the store.
    committed: u64,
}

#[derive(Debug, Clone)]
struct ActiveChallenge {
    serial: u64,
    resource: Arc<Resource>,
}

#[derive(Debug, Clone)]
struct PublishedChange {
    /// `None` once it is removed.
    serial: Option<u64>,
    version: u64,
    change: Change,
}

impl Challenges {
    /// None yet. Each change of them is a revision of `store`.
    #[must_use]
    pub(crate) fn new(store: Store) -> Self {
        Self { store, state: Arc::new(watch::Sender::new(ChallengesState::default())) }
    }

    /// Puts a challenge on the feed, in place of an older one for the same host.
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

    /// Gives each change its version, until the process stops. The challenges of then are removed by the next start.
    pub(crate) async fn follow(self, stop: Stop) -> Result<(), Infallible> {
        let mut state = self.state.subscribe();
        loop {
            tokio::select! {
                // There is always a sender: ours.
                behind = state.wait_for(ChallengesState::is_behind) => drop(behind),
                () = stop.begun() => return Ok(()),
            }
            if let Err(error) = self.write_changes().await {
                error!(%error, "challenges cannot be published, trying again");
                sleep(RETRY_DELAY).await;
            }
        }
    }

    /// What changed after `after` and up to `until`, a revision that was read from the store just now. What the
    /// catalog has, because it is not after `after`, need not be remembered.
    pub(super) fn changed(&self, after: u64, until: u64) -> Vec<ResourceChange> {
        let mut changed = Vec::new();
        self.state.send_if_modified(|state| {
            changed = state.changed(after, until);
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
        // PublishedChange before the commit: who reads the new revision finds what it stands for.
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
    /// The name of the resource.
    #[must_use]
    pub(crate) fn name(&self) -> ResourceName {
        ResourceName::Challenge(self.host.clone())
    }

    /// The version of the feed that carries it, once there is one.
    pub(crate) async fn version(&self) -> Result<u64, SupersededError> {
        let mut state = self.challenges.state.subscribe();
        let settled = state.wait_for(|state| self.version_in(state) != Ok(None)).await;
        let version = settled.map_err(|_| SupersededError).and_then(|state| self.version_in(&state))?;
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
        let shown = self.published.iter().filter_map(|(host, published)| Some((host, published.serial?)));
        !shown.eq(self.active.iter().map(|(host, active)| (host, active.serial)))
    }

    fn changed(&mut self, after: u64, until: u64) -> Vec<ResourceChange> {
        self.published.retain(|_, published| published.serial.is_some() || published.version > after);
        let news = self
            .published
            .iter()
            .filter(|(_, published)| published.version > after && published.version <= until);
        news.map(|(host, published)| published.changed(host)).collect()
    }

    /// The feed says `active` from `version` on.
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
    fn changed(&self, host: &Host) -> ResourceChange {
        let name = ResourceName::Challenge(host.clone());
        ResourceChange { name, version: self.version, change: self.change.clone() }
    }
}

#[cfg(test)]
mod tests;
