//! webgateway's dataplane: the SNI split, TLS termination and the proxy.

pub mod access;
pub mod app;
pub mod backend;
pub mod clock;
pub mod config;
pub mod connections;
pub mod context;
pub mod controlplane;
pub mod dns;
pub mod edge;
pub mod feed;
pub mod http;
pub mod identity;
pub mod join;
pub mod metrics;
pub mod proxy;
pub mod snapshot;
pub mod socket;
pub mod status;
pub mod tickets;
pub mod tls;
pub mod tunnel;
