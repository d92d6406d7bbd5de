//! What an admin may do with nodes: invite, list, drain, remove.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use time::OffsetDateTime;
use tracing::info;
use webgateway_proto::api::{NodeInvitation, NodeInvite, NodeList, NodeState, NodeView, method};
use webgateway_proto::feed::Explanation;
use webgateway_proto::model::{Host, JoinToken, NodeName, RemoteAddress, RouteId};
use zeroize::Zeroizing;

use super::{Caller, Domain, NodeRefusal, Refusal};
use crate::clock::rfc3339;
use crate::store::audit::{self, Entry};
use crate::store::invites::{self, Invite};
use crate::store::nodes::{self, NodeRecord};

/// How long a token is good if nothing is said, in seconds.
const TTL: u64 = 3600;
const SHORTEST_TTL: u64 = 60;
const LONGEST_TTL: u64 = 7 * 24 * 3600;

/// Knows the nodes that are connected, or were.
#[async_trait]
pub trait NodeDirectory: Send + Sync {
    /// Every node, by name.
    fn nodes(&self) -> Vec<NodeView>;

    /// How many connected nodes hold a version: as soon as there is news, or after `limit`.
    async fn settle(&self, awaited: &Awaited, limit: Duration) -> Settled;

    /// How a host looks from each connected node, which has `limit` to say so.
    async fn explain(&self, host: &Host, limit: Duration) -> Vec<Answered>;
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// The version.
    pub version: u64,
    /// A route in it, whose rejects are told.
    pub route: Option<RouteId>,
    /// How many nodes are known to hold it: more is news.
    pub known: Option<u64>,
}

/// How far a version has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// How many nodes are connected.
    pub nodes: u64,
    /// How many of them hold it.
    pub acked: u64,
    /// Nodes that cannot use the route, and why.
    pub rejects: Vec<(String, String)>,
}

/// A node that was asked about a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Its name.
    pub node: String,
    /// The routes that it cannot use, by resource, and why.
    pub rejects: Vec<(String, String)>,
    /// What it said, if it did in time.
    pub answer: Option<Explanation>,
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
        let offered = self.invitations.as_ref().ok_or(NodeRefusal::NoRemoteNodes)?;
        let name: NodeName = wanted.node.parse().map_err(NodeRefusal::Name)?;
        let given = wanted.address.as_deref().map(str::parse).transpose().map_err(NodeRefusal::Address)?;
        let address = given.or_else(|| offered.address.clone()).ok_or(NodeRefusal::NoAddress)?;
        let ttl = wanted.ttl.unwrap_or(TTL);
        if !(SHORTEST_TTL..=LONGEST_TTL).contains(&ttl) {
            return Err(NodeRefusal::Ttl.into());
        }
        let now = self.clock.now();
        let expires_at = now + Duration::from_secs(ttl);
        let mut secret = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *secret).map_err(|_| NodeRefusal::NoRandomness)?;
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &*secret).as_ref());
        let entry = caller.entry(now, method::NODES_INVITE, format!("node/{name}"));
        let invite = Invite { name: name.clone(), expires_at, used: false };
        self.store
            .write(method::NODES_INVITE, move |tx| {
                let known = nodes::find(tx, invite.name.as_str())?;
                if known.is_some_and(|node| node.member.is_some() && !node.removed) {
                    return Err(Refusal::from(NodeRefusal::Taken(invite.name)));
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
            ..caller.entry(now, method::NODES_DRAIN, format!("node/{name}"))
        };
        let by = caller.key_id().clone();
        self.store
            .write(method::NODES_DRAIN, move |tx| {
                let known = nodes::find(tx, &name)?.filter(|node| !node.removed);
                if known.is_none() && !seen {
                    return Err(Refusal::from(NodeRefusal::Unknown(shown(&name))));
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
        let entry = caller.entry(now, method::NODES_REMOVE, format!("node/{name}"));
        let by = caller.key_id().clone();
        self.store
            .write(method::NODES_REMOVE, move |tx| {
                let known = nodes::find(tx, &name)?.filter(|node| node.member.is_some());
                let Some(node) = known else {
                    return Err(Refusal::from(NodeRefusal::NoMember(shown(&name))));
                };
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

fn written(at: OffsetDateTime) -> String {
    rfc3339(at.replace_nanosecond(0).unwrap_or(at))
}

fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}
