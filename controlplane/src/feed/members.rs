//! The in-memory list of nodes from the store, which decides which peers may use the feed and which nodes are drained.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::error;
use uuid::Uuid;
use webgateway_process::Stop;

use super::peer::Peer;
use crate::clock::Clock;
use crate::store::nodes::{NodeRecord, changed_since};
use crate::store::{Store, StoreError};

/// The delay before the store is read again after a failure.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The minimum interval between two reads, so that changes in quick succession are read together.
const MIN_READ_INTERVAL: Duration = Duration::from_millis(50);
/// The maximum time to wait until a revision of the store has been read.
const REVISION_TIMEOUT: Duration = Duration::from_secs(5);

/// The list of nodes that may connect. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Members(Arc<MembersInner>);

#[derive(Debug)]
struct MembersInner {
    list: RwLock<MemberList>,
    /// The revision up to which the store was read.
    read: watch::Sender<u64>,
    changed: watch::Sender<()>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct MemberList {
    nodes: HashMap<String, NodeRecord>,
    names: HashMap<Uuid, String>,
}

/// A peer is not admitted to the feed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AdmissionError {
    /// The remote peer presented no certificate.
    #[error("a node's certificate is required: join with a token from `gwctl nodes invite`")]
    NoCertificate,
    /// The certificate is from the nodes' CA, but belongs to no node on the list.
    #[error(
        "the controlplane does not know this node's certificate: invite the node again with `gwctl nodes invite`"
    )]
    Unlisted,
    /// An admin removed the node.
    #[error("the node `{0}` was removed: create a new join token with `gwctl nodes invite {0}`")]
    Removed(String),
    /// The node's latest certificate has expired.
    #[error("the certificate of the node `{0}` has expired: remove the node and invite it again")]
    Expired(String),
    /// The name in Hello is not the one in the certificate.
    #[error(
        "the node calls itself `{claimed}`, but its certificate is for `{certificate}`: set `node` to that name or leave it out"
    )]
    OtherName {
        /// The name in Hello.
        claimed: String,
        /// The name in the certificate.
        certificate: String,
    },
}

impl Members {
    /// Creates an empty list.
    #[must_use]
    pub(crate) fn new(clock: Clock) -> Self {
        let (read, changed) = (watch::Sender::new(0), watch::Sender::new(()));
        Self(Arc::new(MembersInner { list: RwLock::default(), read, changed, clock }))
    }

    /// Returns the node name of a peer. Returns `None` for a local peer, which may use any name.
    pub(crate) fn admit(&self, peer: &Peer) -> Result<Option<String>, AdmissionError> {
        let Peer::Remote { member, .. } = peer else { return Ok(None) };
        let member = member.ok_or(AdmissionError::NoCertificate)?;
        let list = self.0.list.read().unwrap_or_else(PoisonError::into_inner);
        let node = list.names.get(&member).and_then(|name| list.nodes.get(name));
        let node = node.ok_or(AdmissionError::Unlisted)?;
        if node.removed {
            return Err(AdmissionError::Removed(node.name.clone()));
        }
        if node.not_after.is_some_and(|end| end <= self.0.clock.now()) {
            return Err(AdmissionError::Expired(node.name.clone()));
        }
        Ok(Some(node.name.clone()))
    }

    /// Checks that `peer` may act as the node `name`. Returns true if that node is to be drained.
    pub(crate) fn authorize(&self, peer: &Peer, name: &str) -> Result<bool, AdmissionError> {
        if let Some(certificate) = self.admit(peer)?.filter(|certificate| certificate != name) {
            return Err(AdmissionError::OtherName { claimed: name.chars().take(80).collect(), certificate });
        }
        let list = self.0.list.read().unwrap_or_else(PoisonError::into_inner);
        Ok(list.nodes.get(name).is_some_and(|node| node.drained && !node.removed))
    }

    /// Returns a receiver that is notified after each change of the list.
    #[must_use]
    pub(crate) fn changed(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// Waits until the store has been read up to revision `version`, for at most [`REVISION_TIMEOUT`].
    pub(crate) async fn wait_for_revision(&self, version: u64) {
        let mut read = self.0.read.subscribe();
        // A timeout is no error: the revision is read later.
        let _ = tokio::time::timeout(REVISION_TIMEOUT, read.wait_for(|read| *read >= version)).await;
    }

    /// Reads the changes since the last read from the store.
    pub(crate) async fn load(&self, store: &Store) -> Result<(), StoreError> {
        let since = *self.0.read.borrow();
        let (version, records) = store
            .read("members", move |tx| -> Result<_, StoreError> {
                Ok((tx.revision()?, changed_since(tx, since)?))
            })
            .await?;
        self.update(version, records);
        Ok(())
    }

    /// Reads the changes after each revision of the store until the process stops.
    pub(crate) async fn follow(self, store: Store, stop: Stop) -> Result<(), StoreError> {
        let mut changed = store.changed();
        loop {
            changed.mark_unchanged();
            let began = Instant::now();
            let failed = self
                .load(&store)
                .await
                .inspect_err(|error| error!(%error, "cannot read the list of nodes, retrying"))
                .is_err();
            tokio::select! {
                gone = changed.changed(), if !failed => {
                    if gone.is_err() {
                        return Ok(());
                    }
                    tokio::time::sleep_until(began + MIN_READ_INTERVAL).await;
                }
                () = tokio::time::sleep(RETRY_DELAY), if failed => {}
                () = stop.begun() => return Ok(()),
            }
        }
    }

    fn update(&self, version: u64, records: Vec<NodeRecord>) {
        let is_changed = !records.is_empty();
        {
            let mut list = self.0.list.write().unwrap_or_else(PoisonError::into_inner);
            for record in records {
                list.insert(record);
            }
        }
        if is_changed {
            self.0.changed.send_replace(());
        }
        self.0.read.send_replace(version);
    }
}

impl MemberList {
    fn insert(&mut self, record: NodeRecord) {
        let name = record.name.clone();
        if let Some(member) = record.member {
            self.names.insert(member, name.clone());
        }
        let (member, old) = (record.member, self.nodes.insert(name, record));
        if let Some(old) = old.and_then(|old| old.member).filter(|old| Some(*old) != member) {
            self.names.remove(&old);
        }
    }
}

/// The membership of one connected node: its authorization, and the drain state that was sent to it.
pub(super) struct Membership {
    members: Members,
    peer: Peer,
    name: String,
    changed: watch::Receiver<()>,
    sent_drain: bool,
}

impl Membership {
    /// Creates the membership of a node that has sent Hello. Returns an error if the peer may not act as `name`.
    pub(super) fn new(members: &Members, peer: Peer, name: &str) -> Result<Self, AdmissionError> {
        members.authorize(&peer, name)?;
        let changed = members.changed();
        Ok(Self { members: members.clone(), peer, name: name.to_owned(), changed, sent_drain: false })
    }

    /// Returns the drain state that has not been sent to the node yet. Returns an error if the node may not stay
    /// connected.
    pub(super) fn pending_drain(&self) -> Result<Option<bool>, AdmissionError> {
        let drain = self.members.authorize(&self.peer, &self.name)?;
        Ok((drain != self.sent_drain).then_some(drain))
    }

    /// Records that the drain state was sent.
    pub(super) fn mark_drain_sent(&mut self, drain: bool) {
        self.sent_drain = drain;
    }

    /// Resolves after a change of the list.
    pub(super) async fn changed(&mut self) {
        if self.changed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(member: Option<Uuid>) -> Peer {
        Peer::Remote { address: "192.0.2.1:5".parse().unwrap(), member }
    }

    fn record(name: &str, member: Option<Uuid>) -> NodeRecord {
        NodeRecord { name: name.into(), member, not_after: None, drained: false, removed: false, version: 1 }
    }

    #[test]
    fn remote_peers_are_admitted_by_certificate_and_only_with_its_name() {
        let members = Members::new(Clock::system());
        let (id, other) = (Uuid::new_v4(), Uuid::new_v4());
        members.update(1, vec![record("fra", Some(id))]);
        assert_eq!(members.admit(&Peer::Local), Ok(None));
        assert_eq!(members.admit(&remote(None)), Err(AdmissionError::NoCertificate));
        assert_eq!(members.admit(&remote(Some(other))), Err(AdmissionError::Unlisted));
        assert_eq!(members.admit(&remote(Some(id))), Ok(Some("fra".into())));
        assert_eq!(members.authorize(&remote(Some(id)), "fra"), Ok(false));
        assert!(matches!(members.authorize(&remote(Some(id)), "ams"), Err(AdmissionError::OtherName { .. })));
        assert_eq!(members.authorize(&Peer::Local, "anything"), Ok(false));
    }

    #[test]
    fn the_old_certificate_is_refused_after_removal_and_reinvitation() {
        let members = Members::new(Clock::system());
        let (old, new) = (Uuid::new_v4(), Uuid::new_v4());
        members.update(1, vec![record("fra", Some(old))]);
        members.update(2, vec![NodeRecord { removed: true, ..record("fra", Some(old)) }]);
        assert_eq!(members.admit(&remote(Some(old))), Err(AdmissionError::Removed("fra".into())));
        members.update(3, vec![record("fra", Some(new))]);
        assert_eq!(members.admit(&remote(Some(old))), Err(AdmissionError::Unlisted));
        assert_eq!(members.admit(&remote(Some(new))), Ok(Some("fra".into())));
    }

    #[test]
    fn an_expired_certificate_is_refused() {
        let members = Members::new(Clock::system());
        let (id, past) = (Uuid::new_v4(), time::OffsetDateTime::UNIX_EPOCH);
        members.update(1, vec![NodeRecord { not_after: Some(past), ..record("fra", Some(id)) }]);
        assert_eq!(members.admit(&remote(Some(id))), Err(AdmissionError::Expired("fra".into())));
    }

    #[tokio::test]
    async fn each_change_of_the_drain_state_is_sent_once() {
        let members = Members::new(Clock::system());
        let mut membership = Membership::new(&members, Peer::Local, "story").unwrap();
        assert_eq!(membership.pending_drain(), Ok(None));
        members.update(1, vec![NodeRecord { drained: true, ..record("story", None) }]);
        membership.changed().await;
        assert_eq!(membership.pending_drain(), Ok(Some(true)));
        membership.mark_drain_sent(true);
        assert_eq!(membership.pending_drain(), Ok(None));
        members.update(2, vec![record("story", None)]);
        assert_eq!(membership.pending_drain(), Ok(Some(false)));
    }
}
