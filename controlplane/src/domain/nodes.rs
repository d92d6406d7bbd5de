//! The admin's side of nodes: invite, list, drain, remove.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use time::OffsetDateTime;
use tracing::info;
use webgateway_proto::audit::action;
use webgateway_proto::model::{JoinToken, NodeName, RemoteAddress};
use zeroize::Zeroizing;

use super::caller::Caller;
use super::directory::NodeStatus;
use super::refusal::{NodeRefusal, Refusal};
use super::rules::Domain;
use crate::store::audit::{self, AuditEntry};
use crate::store::invites::{self, InviteRecord};
use crate::store::nodes::{self, NodeRecord};
use crate::store::{StoreError, Tx};

/// The lifetime of a token for which none was given.
const DEFAULT_TTL: Duration = Duration::from_secs(3600);
const SHORTEST_TTL: Duration = Duration::from_secs(60);
const LONGEST_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

/// Makes a token by which one node joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InviteNode {
    /// The node's name.
    pub name: NodeName,
    /// The address at which it finds the controlplane; the configured one if it is left out.
    pub address: Option<RemoteAddress>,
    /// How long the token is good; an hour if it is left out.
    pub ttl: Option<Duration>,
}

/// A join token for one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invitation {
    /// The node's name.
    pub node: NodeName,
    /// The token: a secret.
    pub token: JoinToken,
    /// The time until which it is good.
    pub expires_at: OffsetDateTime,
}

/// A node that is or was connected, or was said something about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownNode {
    /// The name.
    pub name: String,
    /// The status it last had; `None` if it has not connected since this process began.
    pub status: Option<NodeStatus>,
    /// The number of revisions it is behind the store.
    pub lag: u64,
    /// True if it is to be drained.
    pub drained: bool,
    /// True if it was removed: its certificate is refused.
    pub removed: bool,
    /// The end of its certificate, if it has one.
    pub certificate_not_after: Option<OffsetDateTime>,
}

/// A node after something was said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeChange {
    /// The name.
    pub name: String,
    /// True if it is to be drained.
    pub drained: bool,
    /// True if it was removed.
    pub removed: bool,
    /// The store's revision.
    pub version: u64,
}

impl Domain {
    /// Makes a token by which one node of this name can join, once.
    pub(crate) async fn invite_node(
        &self,
        caller: &Caller,
        command: InviteNode,
    ) -> Result<Invitation, Refusal> {
        caller.require_admin()?;
        let offered = self.invitations.as_ref().ok_or(NodeRefusal::NoRemoteNodes)?;
        let address = command.address.or_else(|| offered.address.clone()).ok_or(NodeRefusal::NoAddress)?;
        let ttl = command.ttl.unwrap_or(DEFAULT_TTL);
        if !(SHORTEST_TTL..=LONGEST_TTL).contains(&ttl) {
            return Err(NodeRefusal::Ttl.into());
        }
        let (now, name) = (self.clock.now(), command.name);
        let expires_at = now + ttl;
        let mut secret = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *secret).map_err(|_| NodeRefusal::NoRandomness)?;
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &*secret).as_ref());
        let entry = caller.entry(now, action::NODES_INVITE, target(name.as_str()));
        let invite = InviteRecord { name: name.clone(), expires_at, used: false };
        self.store
            .write(action::NODES_INVITE, move |tx| {
                let known = nodes::find(tx, invite.name.as_str())?;
                if known.is_some_and(|node| node.member.is_some() && !node.removed) {
                    return Err(Refusal::from(NodeRefusal::Taken(invite.name)));
                }
                invites::insert(tx, &hash, &invite, now)?;
                Ok(audit::insert(tx, &entry)?)
            })
            .await?;
        info!(node = %name, by = %caller.key_id(), "node invited");
        let (authority, unix) = (offered.authority, expires_at.unix_timestamp());
        let token = JoinToken { address, authority, secret, expires_at: unix };
        Ok(Invitation { node: name, token, expires_at })
    }

    /// Returns the store's revision, and every node by name: those that are or were connected, and those that
    /// something was said about.
    pub(crate) async fn list_nodes(&self, caller: &Caller) -> Result<(u64, Vec<KnownNode>), Refusal> {
        caller.require_admin()?;
        let statuses = self.nodes.nodes();
        let read = |tx: &mut Tx<'_>| -> Result<_, StoreError> { Ok((tx.revision()?, nodes::list(tx)?)) };
        let (version, records) = self.store.read("nodes.list", read).await?;
        Ok((version, merge(version, statuses, records)))
    }

    /// Has a node drained, or not any more; the same again changes nothing.
    pub(crate) async fn drain_node(
        &self,
        caller: &Caller,
        name: String,
        drain: bool,
    ) -> Result<NodeChange, Refusal> {
        caller.require_admin()?;
        let has_connected = self.nodes.nodes().iter().any(|node| node.name == name);
        let entry = AuditEntry {
            before: Some(serde_json::json!({ "drained": !drain }).to_string()),
            after: Some(serde_json::json!({ "drained": drain }).to_string()),
            ..caller.entry(self.clock.now(), action::NODES_DRAIN, target(&name))
        };
        let by = caller.key_id().clone();
        self.store
            .write(action::NODES_DRAIN, move |tx| {
                let known = nodes::find(tx, &name)?.filter(|node| !node.removed);
                if known.is_none() && !has_connected {
                    return Err(Refusal::from(NodeRefusal::Unknown(shortened(&name))));
                }
                if known.is_some_and(|node| node.drained) != drain {
                    nodes::set_drained(tx, &name, drain)?;
                    audit::insert(tx, &entry)?;
                    let node = name.clone();
                    tx.on_commit(move || info!(node, drain, %by, "node drain changed"));
                }
                Ok(NodeChange { name, drained: drain, removed: false, version: tx.revision()? })
            })
            .await
    }

    /// Refuses a node's certificates from now on; doing it again changes nothing.
    pub(crate) async fn remove_node(&self, caller: &Caller, name: String) -> Result<NodeChange, Refusal> {
        caller.require_admin()?;
        let now = self.clock.now();
        let entry = caller.entry(now, action::NODES_REMOVE, target(&name));
        let by = caller.key_id().clone();
        self.store
            .write(action::NODES_REMOVE, move |tx| {
                let known = nodes::find(tx, &name)?.filter(|node| node.member.is_some());
                let Some(node) = known else {
                    return Err(Refusal::from(NodeRefusal::NoMember(shortened(&name))));
                };
                if !node.removed {
                    nodes::remove(tx, &name, now)?;
                    audit::insert(tx, &entry)?;
                    let node = name.clone();
                    tx.on_commit(move || info!(node, %by, "node removed"));
                }
                Ok(NodeChange { name, drained: false, removed: true, version: tx.revision()? })
            })
            .await
    }
}

fn merge(version: u64, statuses: Vec<NodeStatus>, records: Vec<NodeRecord>) -> Vec<KnownNode> {
    let mut nodes: BTreeMap<String, KnownNode> = statuses
        .into_iter()
        .map(|status| {
            (status.name.clone(), KnownNode { status: Some(status.clone()), ..unheard(status.name) })
        })
        .collect();
    for record in records {
        let node = nodes.entry(record.name.clone()).or_insert_with(|| unheard(record.name));
        (node.drained, node.removed) = (record.drained, record.removed);
        node.certificate_not_after = record.not_after.filter(|_| !record.removed);
    }
    let held = |node: &KnownNode| node.status.as_ref().map_or(0, |status| status.version);
    let lag = |node: KnownNode| KnownNode { lag: version.saturating_sub(held(&node)), ..node };
    nodes.into_values().map(lag).collect()
}

/// A node that nothing is known of but its name.
fn unheard(name: String) -> KnownNode {
    KnownNode { name, status: None, lag: 0, drained: false, removed: false, certificate_not_after: None }
}

/// The name of a node in the audit.
fn target(name: &str) -> String {
    format!("node/{name}")
}

fn shortened(name: &str) -> String {
    name.chars().take(80).collect()
}
