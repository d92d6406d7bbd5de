//! The API's vocabulary, shared by the controlplane and its clients: JSON-RPC 2.0 envelopes, methods, params, results.

mod audit;
mod certificates;
mod explain;
pub mod jsonrpc;
mod lists;
mod methods;
mod nodes;
mod traffic;
mod users;
mod whoami;

pub use audit::{AuditExport, AuditExportParams, AuditList, AuditListParams, MAX_RECORDS};
pub use certificates::{
    CertificateList, CertificateListParams, CertificateRef, CertificateState, CertificateView, DnsRecord,
    RootCertificate,
};
pub use explain::{
    BackendStatus, ExplainParams, NodeExplanation, Problem, RouteExplanation, ServedCertificateView,
    WaitParams, WaitState,
};
pub use lists::{LONGEST_WAIT, MAX_PAGE, RouteList, RouteListParams};
pub use methods::{
    BuildInfo, Health, RouteCreate, RouteDelete, RouteRef, RouteState, RouteUpdate, RouteView, method,
};
pub use nodes::{NodeDrain, NodeInvitation, NodeInvite, NodeList, NodeRef, NodeState, NodeView, Reject};
pub use traffic::{
    HourTraffic, LatencyView, LogLine, LogPage, LogsParams, MAX_HOURS, NodeTraffic, ResponseClasses,
    RouteStats, RouteStatsList, StatsParams, TrafficOrder, TrafficView, TrafficWindows, Window,
};
pub use users::{
    Limit, QuotaView, SuspensionView, UnlimitedWord, UserList, UserListParams, UserQuota, UserRef, UserState,
    UserSuspend, UserView,
};
pub use whoami::Identity;

pub use crate::feed::MAX_BODY;

/// The path of the API.
pub const RPC_PATH: &str = "/rpc";
/// The path of the API's HTML documentation.
pub const DOCS_PATH: &str = "/docs";
/// The path of the API's OpenRPC document.
pub const OPENRPC_PATH: &str = "/openrpc.json";
