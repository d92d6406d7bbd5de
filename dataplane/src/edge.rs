//! The edge: connections are accepted, read as far as their ClientHello, and split.

pub mod challenge;
pub mod connection;
pub mod hello;
pub mod listener;
pub mod passthrough;
pub mod plain;
pub mod socket_activation;
pub mod split;
pub mod worker;
