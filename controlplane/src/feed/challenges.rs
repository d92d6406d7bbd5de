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
const PAUSE: Duration = Duration::from_secs(1);

/// The challenges of the moment. Clones are the same ones.
#[derive(Debug, Clone)]
pub(crate) struct Challenges {
    store: Store,
    state: Arc<watch::Sender<State>>,
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
struct State {
    serial: u64,
    /// What is to be shown.
    wanted: BTreeMap<Host, Wanted>,
    /// What the feed says of it.
    told: BTreeMap<Host, Told>,
    /// What was told up to this version is in the store.
    committed: u64,
}

#[derive(Debug, Clone)]
struct Wanted {
    serial: u64,
    resource: Arc<Resource>,
}

#[derive(Debug, Clone)]
struct Told {
    /// `None` once it is removed.
    serial: Option<u64>,
    version: u64,
    change: Change,
}

impl Challenges {
    /// None yet. Each change of them is a revision of `store`.
    #[must_use]
    pub(crate) fn new(store: Store) -> Self {
        Self { store, state: Arc::new(watch::Sender::new(State::default())) }
    }

    /// Puts a challenge on the feed, in place of an older one for the same host.
    pub(crate) fn show(&self, challenge: Challenge) -> ChallengeGuard {
        let host = challenge.host.clone();
        let resource = Arc::new(Resource::Challenge(challenge));
        let mut serial = 0;
        self.state.send_modify(|state| {
            state.serial += 1;
            serial = state.serial;
            state.wanted.insert(host.clone(), Wanted { serial, resource });
        });
        ChallengeGuard { challenges: self.clone(), host, serial }
    }

    /// Gives each change its version, until the process stops. The challenges of then are removed by the next start.
    pub(crate) async fn follow(self, stop: Stop) -> Result<(), Infallible> {
        let mut state = self.state.subscribe();
        loop {
            tokio::select! {
                // There is always a sender: ours.
                behind = state.wait_for(State::is_behind) => drop(behind),
                () = stop.begun() => return Ok(()),
            }
            if let Err(error) = self.publish().await {
                error!(%error, "challenges cannot be published, trying again");
                sleep(PAUSE).await;
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

    async fn publish(&self) -> Result<(), StoreError> {
        let (wanted, before) = {
            let state = self.state.borrow();
            (state.wanted.clone(), state.told.clone())
        };
        let (hosts, state): (Vec<Host>, _) = (wanted.keys().cloned().collect(), Arc::clone(&self.state));
        // Told before the commit: who reads the new revision finds what it stands for.
        let write = move |tx: &mut crate::store::WriteTx<'_>| -> Result<u64, StoreError> {
            let version = challenges::record(tx, &hosts)?;
            state.send_modify(|state| state.tell(&wanted, version));
            Ok(version)
        };
        match self.store.write("challenges", write).await {
            Ok(version) => {
                self.state.send_modify(|state| state.committed = version);
                Ok(())
            }
            Err(error) => {
                self.state.send_modify(|state| state.told = before);
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

    fn version_in(&self, state: &State) -> Result<Option<u64>, SupersededError> {
        if state.wanted.get(&self.host).is_none_or(|wanted| wanted.serial != self.serial) {
            return Err(SupersededError);
        }
        let told = state.told.get(&self.host).filter(|told| told.serial == Some(self.serial));
        Ok(told.map(|told| told.version).filter(|version| *version <= state.committed))
    }
}

impl Drop for ChallengeGuard {
    fn drop(&mut self) {
        self.challenges.state.send_modify(|state| {
            if state.wanted.get(&self.host).is_some_and(|wanted| wanted.serial == self.serial) {
                state.wanted.remove(&self.host);
            }
        });
    }
}

impl State {
    fn is_behind(&self) -> bool {
        let shown = self.told.iter().filter_map(|(host, told)| Some((host, told.serial?)));
        !shown.eq(self.wanted.iter().map(|(host, wanted)| (host, wanted.serial)))
    }

    fn changed(&mut self, after: u64, until: u64) -> Vec<ResourceChange> {
        self.told.retain(|_, told| told.serial.is_some() || told.version > after);
        let news = self.told.iter().filter(|(_, told)| told.version > after && told.version <= until);
        news.map(|(host, told)| told.changed(host)).collect()
    }

    /// The feed says `wanted` from `version` on.
    fn tell(&mut self, wanted: &BTreeMap<Host, Wanted>, version: u64) {
        for (host, told) in &mut self.told {
            if told.serial.is_some() && !wanted.contains_key(host) {
                *told = Told { serial: None, version, change: Change::Remove { at_once: false } };
            }
        }
        for (host, Wanted { serial, resource }) in wanted {
            if self.told.get(host).is_none_or(|told| told.serial != Some(*serial)) {
                let change = Change::Put(Arc::clone(resource));
                self.told.insert(host.clone(), Told { serial: Some(*serial), version, change });
            }
        }
    }
}

impl Told {
    fn changed(&self, host: &Host) -> ResourceChange {
        let name = ResourceName::Challenge(host.clone());
        ResourceChange { name, version: self.version, change: self.change.clone() }
    }
}

#[cfg(test)]
mod tests;
