//! `nodes.*`: for the admin alone.

use webgateway_proto::api::{NodeDrain, NodeInvitation, NodeInvite, NodeList, NodeRef, NodeState, method};

use super::system::NoParams;
use super::{Example, Method, Services, samples};
use crate::api::fault::Kind;
use crate::domain::{Caller, Refusal};

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

    async fn call(services: &Services, who: Caller, _: NoParams) -> Result<NodeList, Refusal> {
        services.domain.list_nodes(&who, services.nodes.nodes()).await
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

    async fn call(services: &Services, who: Caller, params: NodeInvite) -> Result<NodeInvitation, Refusal> {
        services.domain.invite_node(&who, &params).await
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

    async fn call(services: &Services, who: Caller, params: NodeDrain) -> Result<NodeState, Refusal> {
        let seen = services.nodes.nodes().iter().any(|view| view.node == params.node);
        services.domain.drain_node(&who, params.node, params.drain, seen).await
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

    async fn call(services: &Services, who: Caller, params: NodeRef) -> Result<NodeState, Refusal> {
        services.domain.remove_node(&who, params.node).await
    }
}
