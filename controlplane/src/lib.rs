//! webgateway's controlplane: it owns the truth (routes, users, certificates) and tells it to the nodes.
//!
//! Leaf first: a module imports only what stands before it.

mod config;
mod metrics;

mod clock;

mod sockets;
mod store;
mod tickets;

mod pki;

mod keys;

mod domain;

mod api;

mod feed;

mod dns;

mod reconcile;
mod suspensions;

mod certs;

mod live;

mod handlers;

#[cfg(any(test, fuzzing))]
pub mod fuzz;

pub mod app;
