//! `nodes.*`: for the admin alone.

use std::time::Duration;

use time::OffsetDateTime;
use webgateway_proto::api::{
    NodeDrain, NodeInvitation, NodeInvite, NodeList, NodeRef, NodeState, NodeView, Reject, method,
};

use super::method::{Example, Method, Services};
use super::samples;
use super::system::NoParams;
use crate::api::fault::Kind;
use crate::clock::rfc3339;
use crate::domain::{
    Caller, DomainError, Invitation, InviteNode, NodeChange, NodeError, NodeOverview, RejectedResource,
};

pub(super) struct List;
pub(super) struct Invite;
pub(super) struct Drain;
pub(super) struct Remove;

impl Method for List {
    const NAME: &'static str = method::NODES_LIST;
    const SUMMARY: &'static str = "Lists the nodes, what they hold and what they could not use";
    const DESCRIPTION: &'static str = "For the admin. A node that is not connected stays in the list.";
    const ERRORS: &'static [Kind] = &[Kind::AdminOnly];
    type Who = Caller;
    type Params = NoParams;
    type Outcome = NodeList;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        vec![Example { name: "Two nodes", params: NoParams {}, result: samples::nodes() }]
    }

    async fn call(services: &Services, who: Caller, _: NoParams) -> Result<NodeList, DomainError> {
        let (version, nodes) = services.domain.list_nodes(&who).await?;
        Ok(NodeList { version, nodes: nodes.into_iter().map(view).collect() })
    }
}

impl Method for Invite {
    const NAME: &'static str = method::NODES_INVITE;
    const SUMMARY: &'static str = "Makes a token by which one new node joins, once";
    const DESCRIPTION: &'static str = "For the admin. The token is a secret, shown once; the node that joins with it gets a certificate of its own.";
    const ERRORS: &'static [Kind] = &[
        Kind::AdminOnly,
        Kind::InvalidNode,
        Kind::InvalidAddress,
        Kind::AddressMissing,
        Kind::InvalidTtl,
        Kind::NodeTaken,
        Kind::NoRemoteNodes,
    ];
    const MUTATES: bool = true;
    type Who = Caller;
    type Params = NodeInvite;
    type Outcome = NodeInvitation;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        vec![samples::invite()]
    }

    async fn call(
        services: &Services,
        who: Caller,
        params: NodeInvite,
    ) -> Result<NodeInvitation, DomainError> {
        who.require_admin()?;
        let command = InviteNode {
            name: params.node.parse().map_err(NodeError::Name)?,
            address: params.address.as_deref().map(str::parse).transpose().map_err(NodeError::Address)?,
            ttl: params.ttl.map(Duration::from_secs),
        };
        let Invitation { node, token, expires_at } = services.domain.invite_node(&who, command).await?;
        Ok(NodeInvitation {
            node: node.to_string(),
            token: token.to_text().to_string(),
            address: token.address.to_string(),
            expires_at: seconds(expires_at),
        })
    }
}

impl Method for Drain {
    const NAME: &'static str = method::NODES_DRAIN;
    const SUMMARY: &'static str = "Has a node drained, or not any more";
    const DESCRIPTION: &'static str = "For the admin. A drained node takes no new visitors and keeps those it has; it stays drained when it starts again.";
    const ERRORS: &'static [Kind] = &[Kind::AdminOnly, Kind::NodeNotFound];
    const MUTATES: bool = true;
    type Who = Caller;
    type Params = NodeDrain;
    type Outcome = NodeState;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        vec![samples::drain()]
    }

    async fn call(services: &Services, who: Caller, params: NodeDrain) -> Result<NodeState, DomainError> {
        services.domain.drain_node(&who, params.node, params.drain).await.map(state)
    }
}

impl Method for Remove {
    const NAME: &'static str = method::NODES_REMOVE;
    const SUMMARY: &'static str = "Removes a node that joined: its stream is cut, its certificate refused";
    const DESCRIPTION: &'static str = "For the admin. To come back it has to be invited again.";
    const ERRORS: &'static [Kind] = &[Kind::AdminOnly, Kind::NodeNotFound];
    const MUTATES: bool = true;
    type Who = Caller;
    type Params = NodeRef;
    type Outcome = NodeState;

    fn examples() -> Vec<Example<Self::Params, Self::Outcome>> {
        vec![samples::remove()]
    }

    async fn call(services: &Services, who: Caller, params: NodeRef) -> Result<NodeState, DomainError> {
        services.domain.remove_node(&who, params.node).await.map(state)
    }
}

fn state(NodeChange { name, drained, removed, version }: NodeChange) -> NodeState {
    NodeState { node: name, drained, removed, version }
}

fn view(known: NodeOverview) -> NodeView {
    let NodeOverview { name, status, lag, drained, removed, certificate_not_after } = known;
    let certificate_not_after = certificate_not_after.map(seconds);
    let said = NodeView { node: name, lag, drained, removed, certificate_not_after, ..NodeView::default() };
    let Some(status) = status else { return said };
    let reject = |RejectedResource { resource, reason }| Reject { resource, reason };
    NodeView {
        build: status.build,
        connected: status.connected,
        since: rfc3339(status.since),
        version: status.version,
        rejects: status.rejects.into_iter().map(reject).collect(),
        address: status.address,
        connections: status.connections,
        requests: status.requests,
        backends_down: status.backends_down,
        draining: status.draining,
        ..said
    }
}

/// A time in whole seconds.
fn seconds(at: OffsetDateTime) -> String {
    rfc3339(at.replace_nanosecond(0).unwrap_or(at))
}
