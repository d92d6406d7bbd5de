//! The controlplane of webgateway: it owns the routes, users and certificates, and distributes them to the nodes.
//!
//! The modules are in dependency order: a module imports only modules declared before it.

mod config;
mod metrics;

mod clock;

mod sockets;
mod store;
mod tickets;
mod traffic;

mod pki;

mod keys;

mod domain;

mod api;

mod feed;

mod dns;

mod fair;
mod reconcile;

mod claims;
mod suspensions;

mod certs;

mod live;

mod handlers;

#[cfg(any(test, fuzzing))]
pub mod fuzz;

pub mod app;
