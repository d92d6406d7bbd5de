//! The reverse proxy for terminated hosts, and for the challenges of passthrough hosts.

pub(crate) mod api;
pub(crate) mod forward;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub(crate) mod handler;
pub(crate) mod request;
pub(crate) mod serve;
pub(crate) mod span;
pub(crate) mod upgrade;
