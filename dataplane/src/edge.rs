//! The edge: accepts connections, reads their ClientHello and decides between TLS termination and passthrough.

pub(crate) mod admission;
pub(crate) mod challenge;
pub(crate) mod connection;
pub(crate) mod connection_limit;
pub(crate) mod hello;
pub(crate) mod listener;
pub(crate) mod passthrough;
pub(crate) mod plain;
pub(crate) mod socket_activation;
pub(crate) mod split;
pub(crate) mod worker;
