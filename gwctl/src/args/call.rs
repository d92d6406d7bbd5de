//! The signed calls.

use std::path::PathBuf;
use std::time::Duration;

use webgateway_proto::api::{
    AuditListParams, CertificateListParams, CertificateRef, ExplainParams, NodeDrain, NodeInvite, NodeRef,
    RouteCreate, RouteDelete, RouteListParams, RouteRef, RouteUpdate, UserListParams, UserQuota, UserRef,
    UserSuspend,
};

use crate::cli;

/// A signed call and its params.
#[derive(Debug)]
pub(crate) enum Call {
    /// `routes.create`
    Create(RouteCreate),
    /// `routes.list`, all its pages; with a limit, as many routes at most.
    List(RouteListParams),
    /// The same, and then each change of it.
    Watch(RouteListParams),
    /// `routes.get`
    Get(RouteRef),
    /// `routes.update`
    Update(RouteUpdate),
    /// `routes.delete`
    Delete(RouteDelete),
    /// Make the routes what a file says.
    Apply(cli::Apply),
    /// `routes.explain`
    Explain(ExplainParams),
    /// A mutation that is to be on every node within this.
    Awaited(Box<Call>, Duration),
    /// `certificates.list`, all its pages; with a limit, as many certificates at most.
    Certificates(CertificateListParams),
    /// `certificates.get`
    Certificate(CertificateRef),
    /// `certificates.renew`
    Renew(CertificateRef),
    /// `certificates.root`
    Root,
    /// `nodes.list`
    Nodes,
    /// `nodes.invite`
    Invite(NodeInvite),
    /// `nodes.drain`
    Drain(NodeDrain),
    /// `nodes.remove`
    Remove(NodeRef),
    /// `audit.list`
    Audit(AuditListParams),
    /// `audit.export`, to be checked, by an earlier head.
    VerifyAudit(Option<String>),
    /// `audit.export`, to be kept.
    ExportAudit(Option<PathBuf>),
    /// `admin.suspend`
    Suspend(UserSuspend),
    /// `admin.unsuspend`
    Unsuspend(UserRef),
    /// `admin.users`, all its pages; with a limit, as many users at most.
    Users(UserListParams),
    /// `admin.quota`
    Quota(UserQuota),
}

impl Call {
    /// Returns the call that waits as `--wait` says.
    pub(super) fn awaited(self, wait: &cli::Wait) -> Self {
        match wait.wait {
            Some(limit) => Self::Awaited(Box::new(self), limit),
            None => self,
        }
    }
}
