//! The harness of the scenarios, `make dev` and the benchmarks: the real binaries, real backends and real clients.
//!
//! The dependency order of the modules is in `tests/layers/order.rs`.

pub mod acme_proxy;
pub mod auth_service;
pub mod authority;
pub mod backend;
pub mod client;
pub mod clock;
pub mod connect_proxy;
pub mod controlplane;
pub mod delay;
pub mod document;
pub mod feed_file;
pub mod feed_node;
pub mod feed_server;
pub mod gateway;
pub mod grpc;
pub mod gwctl;
pub mod link;
pub mod load;
pub mod netns;
pub mod pebble;
pub mod process;
pub mod proxied_backend;
pub mod proxy_header;
pub mod quantiles;
pub mod recorder;
pub mod resolver;
pub mod sandbox;
pub mod scenario;
pub mod seed;
pub mod signer;
pub mod systemd;
pub mod wait;
pub mod websocket;
