//! The reverse proxy for terminated hosts.

pub mod api;
pub mod body;
pub mod error;
pub mod exchange;
pub mod forward;
pub mod handler;
pub mod headers;
pub mod serve;
pub mod upgrade;
pub mod websocket;
