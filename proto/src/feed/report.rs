//! The reports of a node: the health of backends, and the state of one host.

use crate::model::{Backend, CertificateId, RouteId};

/// The health of a backend, as seen from one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendHealth {
    /// The backend.
    pub backend: Backend,
    /// The reason that the backend is down; `None` if it is up.
    pub down: Option<String>,
}

/// The state of one host on one node, in reply to [`ToNode::Explain`](super::ToNode::Explain).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The id of the request.
    pub id: u64,
    /// The version that the node has applied.
    pub version: u64,
    /// The host's route, if the node has one.
    pub route: Option<RouteId>,
    /// The certificate that the node serves for the host, if there is one.
    pub certificate: Option<ServedCertificate>,
    /// The route's backends, each probed for this reply.
    pub backends: Vec<BackendHealth>,
}

/// A certificate in use on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedCertificate {
    /// The certificate's id.
    pub id: CertificateId,
    /// The end of its validity, in Unix seconds.
    pub not_after: i64,
    /// The SHA-256 hash of the leaf certificate's DER.
    pub fingerprint: [u8; 32],
}
