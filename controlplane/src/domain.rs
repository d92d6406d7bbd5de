//! The rules: who may do what to which route. Nothing of HTTP, nothing of SQL, and no type of the API.

mod audit;
mod caller;
mod certificates;
mod directory;
mod explain;
mod host;
mod lists;
mod nodes;
mod page;
mod quotas;
mod refusal;
mod route_status;
mod routes;
mod rules;
mod suspension;
mod users;

pub use self::audit::{AuditQuery, MAX_RECORDS};
pub use self::caller::Caller;
pub use self::certificates::{CertificateState, CertificateStatus};
pub use self::directory::{
    AckProgress, AckTarget, NodeAnswer, NodeDirectory, NodeReject, NodeStatus, RejectedResource,
};
pub use self::explain::{HostReport, NodeReport, Problem};
pub use self::host::{AdmittedHost, HostPolicy};
pub use self::lists::ListRoutes;
pub use self::nodes::{Invitation, InviteNode, KnownNode, NodeChange};
pub use self::page::{MAX_PAGE, PageRequest, Paged};
pub use self::quotas::{MutationAllowance, Quotas};
pub use self::refusal::{NodeRefusal, Refusal, UserRefusal};
pub use self::route_status::{Obstacle, RouteState, RouteStatus};
pub use self::routes::{CreateRoute, DeleteRoute, UpdateRoute};
pub use self::rules::{Domain, Invitations};
pub use self::suspension::{Suspend, UserStanding};
pub use self::users::{SetQuota, UserOverview};

#[cfg(test)]
mod tests;
