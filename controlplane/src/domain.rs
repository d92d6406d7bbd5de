//! The domain rules: authorization, quotas and changes of routes, users, certificates and nodes.
//!
//! Nothing here depends on HTTP, SQL or the types of the API.

mod audit;
mod caller;
mod certificates;
mod claims;
mod directory;
mod error;
mod explain;
mod host;
mod listeners;
mod lists;
mod nodes;
mod ownership;
mod page;
mod proof;
mod proving;
mod quotas;
mod route_audit;
mod route_status;
mod routes;
mod rules;
mod suspension;
mod traffic;
mod users;
mod whoami;

pub(crate) use self::audit::{AuditQuery, MAX_RECORDS};
pub(crate) use self::caller::Caller;
pub(crate) use self::certificates::{CertificateState, CertificateStatus};
pub(crate) use self::directory::{
    AckProgress, AckTarget, NodeDirectory, NodeExplanation, NodeReject, NodeStatus, RejectedResource,
};
pub(crate) use self::error::{DomainError, NestedHostError, NodeError, UserError};
pub(crate) use self::explain::{NodeReport, Problem};
pub(crate) use self::host::HostPolicy;
pub(crate) use self::listeners::{GatewayListeners, ListenerSnapshot};
pub(crate) use self::lists::ListRoutes;
pub(crate) use self::nodes::{Invitation, InviteNode, NodeChange, NodeOverview};
pub(crate) use self::ownership::ClaimPolicy;
pub(crate) use self::page::{MAX_PAGE, PageRequest};
pub(crate) use self::proof::{HostEvidence, HostLookup, HostTarget, named_owners, record_name};
pub(crate) use self::quotas::{MutationAllowance, Quotas};
pub(crate) use self::route_status::{RouteState, RouteStatus};
pub(crate) use self::routes::{CreateRoute, DeleteRoute, UpdateRoute};
pub(crate) use self::rules::{Domain, Invitations};
pub(crate) use self::suspension::{SuspendUser, SuspensionStatus};
pub(crate) use self::traffic::{RouteTraffic, TrafficQuery, TrafficWindows};
pub(crate) use self::users::{SetQuota, UserOverview};
pub(crate) use self::whoami::CallerState;

#[cfg(test)]
mod tests;
