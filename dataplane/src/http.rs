//! HTTP messages on their way through: heads, bodies, progress, and the errors that become responses.

pub mod body;
pub mod error;
pub mod exchange;
pub mod headers;
pub mod websocket;
