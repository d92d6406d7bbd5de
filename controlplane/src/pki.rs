//! The nodes' own PKI: a CA that knows nobody else, the certificates it signs, and the controlplane's own one.

pub mod authority;
pub mod server;
