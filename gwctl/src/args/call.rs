//! The API calls that require a signature.

use std::path::PathBuf;
use std::time::Duration;

use webgateway_proto::api::{
    AuditListParams, CertificateListParams, CertificateRef, ExplainParams, NodeDrain, NodeInvite, NodeRef,
    RouteCreate, RouteListParams, RouteUpdate, UserListParams, UserQuota, UserRef, UserSuspend,
};

use super::routes::RouteSelector;
use crate::cli;

/// A call that requires a signature, with its params.
#[derive(Debug)]
pub(crate) enum Call {
    /// Calls `routes.create`.
    Create(RouteCreate),
    /// Calls `routes.list` for all pages, or up to the limit.
    List(RouteListParams),
    /// Calls `routes.list`, and then again for each change.
    Watch(RouteListParams),
    /// Calls `routes.get`.
    Get(RouteSelector),
    /// Calls `routes.update`.
    Update(RouteSelector, Box<RouteUpdate>),
    /// Calls `routes.delete`.
    Delete(RouteSelector),
    /// Creates, updates and deletes routes to match a file.
    Apply(cli::Apply),
    /// Calls `routes.explain`.
    Explain(ExplainParams),
    /// Makes a mutation, and waits until every connected node has applied it, for the given time at most.
    WithWait(Box<Call>, Duration),
    /// Calls `certificates.list` for all pages, or up to the limit.
    Certificates(CertificateListParams),
    /// Calls `certificates.get`.
    Certificate(CertificateRef),
    /// Calls `certificates.renew`.
    Renew(CertificateRef),
    /// Calls `certificates.root`.
    Root,
    /// Calls `nodes.list`.
    Nodes,
    /// Calls `nodes.invite`.
    Invite(NodeInvite),
    /// Calls `nodes.drain`.
    Drain(NodeDrain),
    /// Calls `nodes.remove`.
    Remove(NodeRef),
    /// Calls `audit.list`.
    Audit(AuditListParams),
    /// Calls `audit.export` and verifies the records, and that one of them has the given hash.
    VerifyAudit(Option<String>),
    /// Calls `audit.export` and prints the records, or writes them to a file.
    ExportAudit(Option<PathBuf>),
    /// Calls `admin.suspend`.
    Suspend(UserSuspend),
    /// Calls `admin.unsuspend`.
    Unsuspend(UserRef),
    /// Calls `admin.users` for all pages, or up to the limit.
    Users(UserListParams),
    /// Calls `admin.quota`.
    Quota(UserQuota),
}

impl Call {
    /// Adds the wait that `--wait` requests, if any.
    pub(super) fn with_wait(self, wait: &cli::WaitFlag) -> Self {
        match wait.wait {
            Some(limit) => Self::WithWait(Box::new(self), limit),
            None => self,
        }
    }
}
