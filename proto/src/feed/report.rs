//! What a node says of itself and of the backends as it sees them.

use crate::model::{Backend, CertificateId, RouteId};

/// A backend's health, seen from one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendHealth {
    /// Which.
    pub backend: Backend,
    /// Why it is down; `None`: it is up.
    pub down: Option<String>,
}

/// How a host looks from one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The number of the question.
    pub id: u64,
    /// What the node stands at.
    pub version: u64,
    /// The host's route, if the node has one.
    pub route: Option<RouteId>,
    /// What it serves for the host, if it has something.
    pub certificate: Option<ServedCertificate>,
    /// Its backends, each dialled just now.
    pub backends: Vec<BackendHealth>,
}

/// A certificate in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedCertificate {
    /// Its id.
    pub id: CertificateId,
    /// When it expires, in Unix seconds.
    pub not_after: i64,
    /// SHA-256 of the leaf's DER.
    pub fingerprint: [u8; 32],
}
