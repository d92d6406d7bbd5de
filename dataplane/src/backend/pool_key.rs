//! The key of pooled connections.

use webgateway_proto::model::Backend;

/// The backend of a connection, and what the connection began with. Only connections with equal keys may carry the same
/// requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    /// The backend.
    pub backend: Backend,
    /// The PROXY protocol header; empty without one. It names one client's connection, so that its backend connections
    /// are never used for another client.
    pub header: Box<[u8]>,
}
