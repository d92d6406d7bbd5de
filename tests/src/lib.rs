//! The harness of the stories and of `make dev`: the real binaries, real backends, real clients.
//!
//! Leaf first; a module imports only what stands before it.

pub mod authority;
pub mod backend;
pub mod ca;
pub mod client;
pub mod clock;
pub mod connect_proxy;
pub mod controller;
pub mod delay;
pub mod document;
pub mod feed_file;
pub mod feed_node;
pub mod feed_server;
pub mod gateway;
pub mod gwctl;
pub mod link;
pub mod load;
pub mod netns;
pub mod pebble;
pub mod process;
pub mod quantiles;
pub mod recorder;
pub mod resolver;
pub mod scene;
pub mod seed;
pub mod signer;
pub mod story;
pub mod systemd;
pub mod wait;
pub mod websocket;
