//! webgateway's dataplane: routing by SNI, TLS termination and the reverse proxy.

mod access;
pub mod app;
mod backend;
mod clock;
mod config;
mod connections;
mod context;
mod controlplane;
mod dns;
mod edge;
mod feed;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod http;
mod identity;
mod join;
mod metrics;
mod network_limits;
mod passwords;
mod policy;
mod problems;
mod proxy;
mod proxy_protocol;
mod rate_limits;
mod ready;
mod refusal_log;
mod snapshot;
mod socket;
mod stats;
mod status;
mod tickets;
mod tls;
mod trailers;
mod tunnel;
mod workers;
