//! The administration of nodes: invite, list, drain and remove.

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
use super::error::{DomainError, NodeError};
use super::rules::Domain;
use crate::store::audit::{self, AuditEntry};
use crate::store::invites::{self, InviteRecord};
use crate::store::nodes::{self, NodeRecord};
use crate::store::{StoreError, Tx};

/// The lifetime of a token if the command gives none.
const DEFAULT_TTL: Duration = Duration::from_secs(3600);
const SHORTEST_TTL: Duration = Duration::from_secs(60);
const LONGEST_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

/// A command that creates a join token for one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InviteNode {
    /// The node's name.
    pub name: NodeName,
    /// The address of the controlplane for this node; the configured one by default.
    pub address: Option<RemoteAddress>,
    /// The lifetime of the token; one hour by default.
    pub ttl: Option<Duration>,
}

/// A join token for one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invitation {
    /// The node's name.
    pub node: NodeName,
    /// The token, which contains a secret.
    pub token: JoinToken,
    /// The time at which the token expires.
    pub expires_at: OffsetDateTime,
}

/// A node that is or was connected, or that an admin command named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeOverview {
    /// The name.
    pub name: String,
    /// The last known status; `None` if the node has not connected since this process started.
    pub status: Option<NodeStatus>,
    /// The number of revisions it is behind the store.
    pub lag: u64,
    /// True if it is to be drained.
    pub drained: bool,
    /// True if it was removed, so that its certificate is refused.
    pub removed: bool,
    /// The end of its certificate's validity, if it has a certificate.
    pub certificate_not_after: Option<OffsetDateTime>,
}

/// The result of a command that changes a node.
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
    /// Creates a token with which one node of this name can join once.
    pub(crate) async fn invite_node(
        &self,
        caller: &Caller,
        command: InviteNode,
    ) -> Result<Invitation, DomainError> {
        caller.require_admin()?;
        let invitations = self.invitations.as_ref().ok_or(NodeError::NoRemoteNodes)?;
        let address = command.address.or_else(|| invitations.address.clone()).ok_or(NodeError::NoAddress)?;
        let ttl = command.ttl.unwrap_or(DEFAULT_TTL);
        if !(SHORTEST_TTL..=LONGEST_TTL).contains(&ttl) {
            return Err(NodeError::Ttl.into());
        }
        let (now, name) = (self.clock.now(), command.name);
        let expires_at = now + ttl;
        let mut secret = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *secret).map_err(|_| NodeError::NoRandomness)?;
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &*secret).as_ref());
        let entry = caller.audit_entry(now, action::NODES_INVITE, target(name.as_str()));
        let invite = InviteRecord { name: name.clone(), expires_at, used: false };
        self.store
            .write(action::NODES_INVITE, move |tx| {
                let known = nodes::find(tx, invite.name.as_str())?;
                if known.is_some_and(|node| node.member.is_some() && !node.removed) {
                    return Err(DomainError::from(NodeError::Taken(invite.name)));
                }
                invites::insert(tx, &hash, &invite, now)?;
                Ok(audit::insert(tx, &entry)?)
            })
            .await?;
        info!(node = %name, by = %caller.key_id(), "node invited");
        let (authority, unix) = (invitations.authority, expires_at.unix_timestamp());
        let token = JoinToken { address, authority, secret, expires_at: unix };
        Ok(Invitation { node: name, token, expires_at })
    }

    /// Lists every node that is or was connected or that an admin command named, by name. Also returns the store's
    /// revision.
    pub(crate) async fn list_nodes(&self, caller: &Caller) -> Result<(u64, Vec<NodeOverview>), DomainError> {
        caller.require_admin()?;
        let statuses = self.nodes.nodes();
        let read = |tx: &mut Tx<'_>| -> Result<_, StoreError> { Ok((tx.revision()?, nodes::list(tx)?)) };
        let (version, records) = self.store.read("nodes.list", read).await?;
        Ok((version, merge(version, statuses, records)))
    }

    /// Starts or ends the drain of a node. Repeating the command changes nothing.
    pub(crate) async fn drain_node(
        &self,
        caller: &Caller,
        name: String,
        drain: bool,
    ) -> Result<NodeChange, DomainError> {
        caller.require_admin()?;
        let has_connected = self.nodes.nodes().iter().any(|node| node.name == name);
        let entry = AuditEntry {
            before: Some(serde_json::json!({ "drained": !drain }).to_string()),
            after: Some(serde_json::json!({ "drained": drain }).to_string()),
            ..caller.audit_entry(self.clock.now(), action::NODES_DRAIN, target(&name))
        };
        let by = caller.key_id().clone();
        self.store
            .write(action::NODES_DRAIN, move |tx| {
                let known = nodes::find(tx, &name)?.filter(|node| !node.removed);
                if known.is_none() && !has_connected {
                    return Err(DomainError::from(NodeError::Unknown(truncated(&name))));
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

    /// Removes a node: its certificates are refused from now on. Repeating the command changes nothing.
    pub(crate) async fn remove_node(&self, caller: &Caller, name: String) -> Result<NodeChange, DomainError> {
        caller.require_admin()?;
        let now = self.clock.now();
        let entry = caller.audit_entry(now, action::NODES_REMOVE, target(&name));
        let by = caller.key_id().clone();
        self.store
            .write(action::NODES_REMOVE, move |tx| {
                let known = nodes::find(tx, &name)?.filter(|node| node.member.is_some());
                let Some(node) = known else {
                    return Err(DomainError::from(NodeError::NoMember(truncated(&name))));
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

fn merge(version: u64, statuses: Vec<NodeStatus>, records: Vec<NodeRecord>) -> Vec<NodeOverview> {
    let mut nodes: BTreeMap<String, NodeOverview> = statuses
        .into_iter()
        .map(|status| {
            (
                status.name.clone(),
                NodeOverview { status: Some(status.clone()), ..without_status(status.name) },
            )
        })
        .collect();
    for record in records {
        let node = nodes.entry(record.name.clone()).or_insert_with(|| without_status(record.name));
        (node.drained, node.removed) = (record.drained, record.removed);
        node.certificate_not_after = record.not_after.filter(|_| !record.removed);
    }
    let held = |node: &NodeOverview| node.status.as_ref().map_or(0, |status| status.version);
    let lag = |node: NodeOverview| NodeOverview { lag: version.saturating_sub(held(&node)), ..node };
    nodes.into_values().map(lag).collect()
}

/// Returns a node of which only the name is known.
fn without_status(name: String) -> NodeOverview {
    NodeOverview { name, status: None, lag: 0, drained: false, removed: false, certificate_not_after: None }
}

/// Returns the name of a node in the audit log.
fn target(name: &str) -> String {
    format!("node/{name}")
}

fn truncated(name: &str) -> String {
    name.chars().take(80).collect()
}
