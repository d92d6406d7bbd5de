//! The API: JSON-RPC 2.0 over HTTP, every call signed but for three.

pub(crate) mod auth;
mod docs;
mod fault;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod handle;
mod jsonrpc;
mod methods;
mod nonces;
mod openrpc;
pub(crate) mod server;
mod waiting;

pub(crate) use self::auth::Origin;
pub(crate) use self::handle::{Api, Parts};

#[cfg(test)]
mod tests;
