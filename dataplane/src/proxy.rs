//! The reverse proxy: HTTP requests of terminated connections, and ACME challenges of passthrough hosts at port 80.

pub(crate) mod api;
mod attempts;
mod auth;
mod deadline;
pub(crate) mod forward;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod handler;
pub(crate) mod request;
pub(crate) mod serve;
pub(crate) mod span;
mod sticky;
pub(crate) mod upgrade;
