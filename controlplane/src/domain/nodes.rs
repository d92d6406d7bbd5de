//! What an admin may do with nodes: invite, list, drain, remove.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use tracing::info;
use webgateway_proto::api::{NodeInvitation, NodeInvite, NodeList, NodeState, NodeView, method};
use webgateway_proto::model::{JoinToken, NodeName, RemoteAddress};
use zeroize::Zeroizing;

use super::{Caller, Domain, Refusal};
use crate::store::audit::{self, Entry};
use crate::store::invites::{self, Invite};
use crate::store::nodes::{self, NodeRecord};

/// How long a token is good if nothing is said, in seconds.
const TTL: u64 = 3600;
const SHORTEST_TTL: u64 = 60;
const LONGEST_TTL: u64 = 7 * 24 * 3600;

/// Knows the nodes that are connected, or were.
pub trait NodeDirectory: Send + Sync {
    /// Every node, by name.
    fn nodes(&self) -> Vec<NodeView>;
}

/// What a token tells a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitations {
    /// SHA-256 of the certificate of the nodes' CA.
    pub authority: [u8; 32],
    /// Where the controlplane is, if the operator said so.
    pub address: Option<RemoteAddress>,
}

impl Domain {
    /// Makes a token by which one node of this name can join.
    pub async fn invite_node(&self, caller: &Caller, wanted: &NodeInvite) -> Result<NodeInvitation, Refusal> {
        caller.require_admin()?;
        let offered = self.invitations.as_ref().ok_or(Refusal::NoRemoteNodes)?;
        let name: NodeName = wanted.node.parse()?;
        let given = wanted.address.as_deref().map(str::parse).transpose()?;
        let address = given.or_else(|| offered.address.clone()).ok_or(Refusal::NoAddress)?;
        let ttl = wanted.ttl.unwrap_or(TTL);
        if !(SHORTEST_TTL..=LONGEST_TTL).contains(&ttl) {
            return Err(Refusal::Ttl);
        }
        let now = self.clock.now();
        let expires_at = now + Duration::seconds(ttl.cast_signed());
        let mut secret = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *secret).map_err(|_| Refusal::NoRandomness)?;
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &*secret).as_ref());
        let entry = entry(caller, now, method::NODES_INVITE, name.as_str());
        let invite = Invite { name: name.clone(), expires_at, used: false };
        self.store
            .write(method::NODES_INVITE, move |tx| {
                let known = nodes::find(tx, invite.name.as_str())?;
                if known.is_some_and(|node| node.member.is_some() && !node.removed) {
                    return Err(Refusal::NodeTaken(invite.name));
                }
                invites::insert(tx, &hash, &invite, now)?;
                Ok(audit::insert(tx, &entry)?)
            })
            .await?;
        info!(node = %name, by = %caller.key_id(), "a node was invited");
        let token = JoinToken {
            address,
            authority: offered.authority,
            secret,
            expires_at: expires_at.unix_timestamp(),
        };
        Ok(NodeInvitation {
            node: name.to_string(),
            token: token.to_text().to_string(),
            address: token.address.to_string(),
            expires_at: written(expires_at),
        })
    }

    /// Every node: those that are or were connected, as `seen`, and those that something was said about.
    pub async fn list_nodes(&self, caller: &Caller, seen: Vec<NodeView>) -> Result<NodeList, Refusal> {
        caller.require_admin()?;
        let read = self.store.read(method::NODES_LIST, |tx| Ok((tx.revision()?, nodes::list(tx)?)));
        let (version, records) = read.await.map_err(|error: crate::store::StoreError| error)?;
        Ok(NodeList { version, nodes: merge(version, seen, records) })
    }

    /// Has a node drained, or not any more. `seen`: whether one of this name is or was connected.
    pub async fn drain_node(
        &self,
        caller: &Caller,
        name: String,
        drain: bool,
        seen: bool,
    ) -> Result<NodeState, Refusal> {
        caller.require_admin()?;
        let now = self.clock.now();
        let entry = Entry {
            before: Some(serde_json::json!({ "drained": !drain }).to_string()),
            after: Some(serde_json::json!({ "drained": drain }).to_string()),
            ..entry(caller, now, method::NODES_DRAIN, &name)
        };
        let by = caller.key_id().clone();
        self.store
            .write(method::NODES_DRAIN, move |tx| {
                let known = nodes::find(tx, &name)?.filter(|node| !node.removed);
                if known.is_none() && !seen {
                    return Err(Refusal::NoNode(shown(&name)));
                }
                if known.is_some_and(|node| node.drained) != drain {
                    nodes::set_drained(tx, &name, drain)?;
                    audit::insert(tx, &entry)?;
                    info!(node = name, drain, %by, "what is wanted of a node was set");
                }
                Ok(NodeState { node: name, drained: drain, removed: false, version: tx.revision()? })
            })
            .await
    }

    /// Refuses a node's certificates from now on.
    pub async fn remove_node(&self, caller: &Caller, name: String) -> Result<NodeState, Refusal> {
        caller.require_admin()?;
        let now = self.clock.now();
        let entry = entry(caller, now, method::NODES_REMOVE, &name);
        let by = caller.key_id().clone();
        self.store
            .write(method::NODES_REMOVE, move |tx| {
                let known = nodes::find(tx, &name)?.filter(|node| node.member.is_some());
                let Some(node) = known else { return Err(Refusal::NoMember(shown(&name))) };
                if !node.removed {
                    nodes::remove(tx, &name, now)?;
                    audit::insert(tx, &entry)?;
                    info!(node = name, %by, "a node was removed");
                }
                Ok(NodeState { node: name, drained: false, removed: true, version: tx.revision()? })
            })
            .await
    }
}

fn merge(version: u64, seen: Vec<NodeView>, records: Vec<NodeRecord>) -> Vec<NodeView> {
    let mut nodes: BTreeMap<String, NodeView> =
        seen.into_iter().map(|view| (view.node.clone(), view)).collect();
    for record in records {
        let view = nodes
            .entry(record.name.clone())
            .or_insert_with(|| NodeView { node: record.name, ..NodeView::default() });
        (view.drained, view.removed) = (record.drained, record.removed);
        view.certificate_not_after = record.not_after.filter(|_| !record.removed).map(written);
    }
    let lag = |view: NodeView| NodeView { lag: version.saturating_sub(view.version), ..view };
    nodes.into_values().map(lag).collect()
}

fn entry(caller: &Caller, at: OffsetDateTime, method: &'static str, name: &str) -> Entry {
    Entry {
        at,
        caller: caller.key_id().to_string(),
        client: caller.client().to_string(),
        method,
        target: format!("node/{name}"),
        before: None,
        after: None,
    }
}

fn written(at: OffsetDateTime) -> String {
    let at = at.replace_nanosecond(0).unwrap_or(at);
    // Formatting a date of this era cannot fail.
    at.format(&Rfc3339).unwrap_or_default()
}

fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}
