//! The API: JSON-RPC 2.0 over HTTP, every call signed but for three.

pub mod auth;
mod docs;
mod fault;
mod handle;
mod jsonrpc;
mod methods;
mod nonces;
mod openrpc;
pub mod server;
mod waiting;

pub use self::auth::Origin;
pub use self::handle::{Api, Parts};
pub use self::openrpc::document;

#[cfg(test)]
mod tests;
