//! The API: JSON-RPC 2.0 over HTTP with signed requests. Three methods need no signature.

pub(crate) mod auth;
mod docs;
mod errors;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod handle;
mod jsonrpc;
mod long_poll;
mod methods;
mod nonces;
mod openrpc;
pub(crate) mod server;

pub(crate) use self::auth::RequestSource;
pub(crate) use self::handle::{Api, ApiParts};

#[cfg(test)]
mod tests;
