//! The real binary against a real HTTP server.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

mod answers;
mod colours;
mod completions;
mod flags;
mod gateway;
mod keys;
mod mycelium;
mod network;
mod profiles;
mod program;
mod retries;
mod signed;
mod snapshots;
mod watching;
