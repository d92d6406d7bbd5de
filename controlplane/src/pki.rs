//! The private PKI of the nodes: its CA, and the controlplane's certificate for TLS with nodes.

pub(crate) mod authority;
pub(crate) mod server;
