//! webgateway's controlplane: it owns the truth (routes, users, certificates) and tells it to the nodes.
//!
//! Leaf first: a module imports only what stands before it.

pub mod config;
pub mod metrics;

pub mod clock;
pub mod seal;

pub mod sockets;
pub mod store;
pub mod tickets;

pub mod pki;

pub mod keys;

pub mod domain;

pub mod api;

pub mod feed;

pub mod dns;

pub mod reconcile;
pub mod suspensions;

pub mod certs;

pub mod app;
