//! The reverse proxy for terminated hosts, and for the challenges of passthrough hosts.

pub mod api;
pub mod forward;
pub mod handler;
pub mod request;
pub mod serve;
pub mod span;
pub mod upgrade;
