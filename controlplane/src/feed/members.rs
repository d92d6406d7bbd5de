//! Whom the feed is told to: the list of nodes, as the store has it, and what the operator wants of each.

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

/// How long to wait before a store that failed is read again.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Between two looks at least: changes that come one after another are read together.
const MIN_READ_INTERVAL: Duration = Duration::from_millis(50);
/// How long a change may take to get here from the store.
const REVISION_TIMEOUT: Duration = Duration::from_secs(5);

/// The list. Clones are the same one.
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

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AdmissionError {
    /// A remote peer showed no certificate.
    #[error("a node's certificate is needed here: join with a token that `gwctl nodes invite` makes")]
    NoCertificate,
    /// Their certificate is ours, but on no list.
    #[error(
        "this node is not on the controlplane's list any more: invite it again with `gwctl nodes invite`"
    )]
    Unlisted,
    /// An admin has removed it.
    #[error(
        "the node `{0}` was removed; `gwctl nodes invite {0}` brings it back, with a new token to join with"
    )]
    Removed(String),
    /// Its newest certificate has ended.
    #[error("the certificate of the node `{0}` has ended: remove it and invite it again")]
    Expired(String),
    /// It says another name than its certificate.
    #[error(
        "it calls itself `{claimed}`, but its certificate is that of `{certificate}`: set `node` to that or leave it out"
    )]
    OtherName {
        /// What its Hello says.
        claimed: String,
        /// What its certificate says.
        certificate: String,
    },
}

impl Members {
    /// Nobody yet.
    #[must_use]
    pub(crate) fn new(clock: Clock) -> Self {
        let (read, changed) = (watch::Sender::new(0), watch::Sender::new(()));
        Self(Arc::new(MembersInner { list: RwLock::default(), read, changed, clock }))
    }

    /// The name of this peer; `None` for one of this machine, which may call itself as it likes.
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

    /// Whether this peer may be, or stay, the node `name`; and if so, whether it is to be drained.
    pub(crate) fn authorize(&self, peer: &Peer, name: &str) -> Result<bool, AdmissionError> {
        if let Some(certificate) = self.admit(peer)?.filter(|certificate| certificate != name) {
            return Err(AdmissionError::OtherName { claimed: name.chars().take(80).collect(), certificate });
        }
        let list = self.0.list.read().unwrap_or_else(PoisonError::into_inner);
        Ok(list.nodes.get(name).is_some_and(|node| node.drained && !node.removed))
    }

    /// Told after each change of the list.
    #[must_use]
    pub(crate) fn changed(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// Waits until what the store was told with revision `version` is known here.
    pub(crate) async fn wait_for_revision(&self, version: u64) {
        let mut read = self.0.read.subscribe();
        // Late is no error: it will be known all the same.
        let _ = tokio::time::timeout(REVISION_TIMEOUT, read.wait_for(|read| *read >= version)).await;
    }

    /// Reads what is new in the store.
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

    /// Follows the store until the process stops.
    pub(crate) async fn follow(self, store: Store, stop: Stop) -> Result<(), StoreError> {
        let mut changed = store.changed();
        loop {
            changed.mark_unchanged();
            let began = Instant::now();
            let failed =
                self.load(&store).await.inspect_err(|error| error!(%error, "the nodes' list")).is_err();
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

/// How one connected node stands: whether it may stay, and whether it was told what is wanted of it.
pub(super) struct Membership {
    members: Members,
    peer: Peer,
    name: String,
    changed: watch::Receiver<()>,
    sent_drain: bool,
}

impl Membership {
    /// A node that just said who it is.
    pub(super) fn new(members: &Members, peer: Peer, name: &str) -> Result<Self, AdmissionError> {
        members.authorize(&peer, name)?;
        let changed = members.changed();
        Ok(Self { members: members.clone(), peer, name: name.to_owned(), changed, sent_drain: false })
    }

    /// What the node is still to be told of drain, if it may stay.
    pub(super) fn pending_drain(&self) -> Result<Option<bool>, AdmissionError> {
        let drain = self.members.authorize(&self.peer, &self.name)?;
        Ok((drain != self.sent_drain).then_some(drain))
    }

    /// It was told.
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
    fn only_remote_nodes_on_the_list_come_in_and_by_their_own_name() {
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
    fn removal_and_a_new_invitation_leave_the_old_certificate_out() {
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
    fn an_ended_certificate_is_out_also_while_it_is_connected() {
        let members = Members::new(Clock::system());
        let (id, past) = (Uuid::new_v4(), time::OffsetDateTime::UNIX_EPOCH);
        members.update(1, vec![NodeRecord { not_after: Some(past), ..record("fra", Some(id)) }]);
        assert_eq!(members.admit(&remote(Some(id))), Err(AdmissionError::Expired("fra".into())));
    }

    #[tokio::test]
    async fn a_node_is_told_of_drain_once_each_time() {
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
