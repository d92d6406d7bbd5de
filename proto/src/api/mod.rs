//! The API's words, shared by the controlplane and its clients: JSON-RPC 2.0 envelopes, methods, params, results.

mod certificates;
pub mod jsonrpc;
mod methods;

pub use certificates::{
    CertificateList, CertificateListParams, CertificateRef, CertificateState, CertificateView, DnsRecord,
    RootCertificate,
};
pub use methods::{
    BuildInfo, Health, NodeList, NodeView, Reject, RouteCreate, RouteList, RouteListParams, RouteRef,
    RouteState, RouteUpdate, RouteView, UserRef, UserState, method,
};

/// The path of the API.
pub const RPC_PATH: &str = "/rpc";
/// The path of the API's OpenRPC document.
pub const OPENRPC_PATH: &str = "/openrpc.json";
/// The largest request body, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;
