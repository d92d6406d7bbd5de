//! The edge: connections are accepted, read as far as their ClientHello, and split.

pub mod challenge;
pub mod connection;
pub mod held;
pub mod hello;
pub mod listener;
pub mod passthrough;
pub mod plain;
pub mod split;
pub mod worker;
