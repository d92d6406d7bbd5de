//! The methods `nodes.*` that only the admin may call.

use std::time::Duration;

use time::OffsetDateTime;
use webgateway_proto::api::{
    NodeDrain, NodeInvitation, NodeInvite, NodeList, NodeRef, NodeState, NodeView, Reject, method,
};

use super::method::{Example, Method, Services};
use super::samples;
use super::system::EmptyParams;
use crate::api::errors::ErrorKind;
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
    const SUMMARY: &'static str =
        "Lists the nodes with their version, their load and the resources that they rejected";
    const DESCRIPTION: &'static str = "For the admin. Nodes that are not connected are listed too.";
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::AdminOnly];
    type Caller = Caller;
    type Params = EmptyParams;
    type Output = NodeList;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        vec![Example { name: "Two nodes", params: EmptyParams {}, result: samples::nodes() }]
    }

    async fn call(services: &Services, caller: Caller, _: EmptyParams) -> Result<NodeList, DomainError> {
        let (version, nodes) = services.domain.list_nodes(&caller).await?;
        Ok(NodeList { version, nodes: nodes.into_iter().map(view).collect() })
    }
}

impl Method for Invite {
    const NAME: &'static str = method::NODES_INVITE;
    const SUMMARY: &'static str = "Creates a token with which one new node can join, once";
    const DESCRIPTION: &'static str = "\
        For the admin. The token is a secret and is returned only by this call. The node that joins with \
        it gets its own certificate.";
    const ERRORS: &'static [ErrorKind] = &[
        ErrorKind::AdminOnly,
        ErrorKind::InvalidNode,
        ErrorKind::InvalidAddress,
        ErrorKind::AddressMissing,
        ErrorKind::InvalidTtl,
        ErrorKind::NodeTaken,
        ErrorKind::NoRemoteNodes,
    ];
    const MUTATES: bool = true;
    type Caller = Caller;
    type Params = NodeInvite;
    type Output = NodeInvitation;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        vec![samples::invite()]
    }

    async fn call(
        services: &Services,
        caller: Caller,
        params: NodeInvite,
    ) -> Result<NodeInvitation, DomainError> {
        caller.require_admin()?;
        let command = InviteNode {
            name: params.node.parse().map_err(NodeError::Name)?,
            address: params.address.as_deref().map(str::parse).transpose().map_err(NodeError::Address)?,
            ttl: params.ttl.map(Duration::from_secs),
        };
        let Invitation { node, token, expires_at } = services.domain.invite_node(&caller, command).await?;
        Ok(NodeInvitation {
            node: node.to_string(),
            token: token.to_text().to_string(),
            address: token.address.to_string(),
            expires_at: rfc3339_seconds(expires_at),
        })
    }
}

impl Method for Drain {
    const NAME: &'static str = method::NODES_DRAIN;
    const SUMMARY: &'static str = "Starts or ends the drain of a node";
    const DESCRIPTION: &'static str = "\
        For the admin. A drained node accepts no new clients and keeps serving the connected ones. It \
        stays drained after a restart.";
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::AdminOnly, ErrorKind::NodeNotFound];
    const MUTATES: bool = true;
    type Caller = Caller;
    type Params = NodeDrain;
    type Output = NodeState;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        vec![samples::drain()]
    }

    async fn call(services: &Services, caller: Caller, params: NodeDrain) -> Result<NodeState, DomainError> {
        services.domain.drain_node(&caller, params.node, params.drain).await.map(state)
    }
}

impl Method for Remove {
    const NAME: &'static str = method::NODES_REMOVE;
    const SUMMARY: &'static str = "Removes a node: closes its stream and refuses its certificate from now on";
    const DESCRIPTION: &'static str = "For the admin. The node needs a new invitation to join again.";
    const ERRORS: &'static [ErrorKind] = &[ErrorKind::AdminOnly, ErrorKind::NodeNotFound];
    const MUTATES: bool = true;
    type Caller = Caller;
    type Params = NodeRef;
    type Output = NodeState;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        vec![samples::remove()]
    }

    async fn call(services: &Services, caller: Caller, params: NodeRef) -> Result<NodeState, DomainError> {
        services.domain.remove_node(&caller, params.node).await.map(state)
    }
}

fn state(NodeChange { name, drained, removed, version }: NodeChange) -> NodeState {
    NodeState { node: name, drained, removed, version }
}

fn view(known: NodeOverview) -> NodeView {
    let NodeOverview { name, status, lag, drained, removed, certificate_not_after } = known;
    let certificate_not_after = certificate_not_after.map(rfc3339_seconds);
    let view = NodeView { node: name, lag, drained, removed, certificate_not_after, ..NodeView::default() };
    let Some(status) = status else { return view };
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
        ..view
    }
}

/// Formats a time without fractions of a second.
fn rfc3339_seconds(at: OffsetDateTime) -> String {
    rfc3339(at.replace_nanosecond(0).unwrap_or(at))
}
