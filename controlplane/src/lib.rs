//! webgateway's controlplane: it owns the truth (routes, users, certificates) and tells it to the nodes.

pub mod clock;
pub mod metrics;
pub mod store;
