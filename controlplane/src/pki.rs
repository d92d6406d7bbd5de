//! The nodes' own PKI: a CA that knows nobody else, the certificates it signs, and the controlplane's own one.

pub(crate) mod authority;
pub(crate) mod server;
