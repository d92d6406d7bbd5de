//! Integration tests: the real binary against a real HTTP server.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

mod colours;
mod completions;
mod flags;
mod gateway;
mod keys;
mod mycelium;
mod network;
mod passwords;
mod profiles;
mod program;
mod requests;
mod responses;
mod retries;
mod snapshots;
mod watch;
