//! The API: JSON-RPC 2.0 over HTTP, every call signed but for three.

mod nonces;

pub mod auth;

mod fault;

mod jsonrpc;

mod waiting;

mod methods;

mod openrpc;

mod docs;

mod handle;
pub mod server;

pub use self::auth::Origin;
pub use self::handle::{Api, Parts};
pub use self::openrpc::document;

#[cfg(test)]
mod tests;
