//! HTTP messages on their way through: heads, bodies, progress, and the errors that become responses.

pub(crate) mod backlog;
pub(crate) mod body;
pub(crate) mod error;
pub(crate) mod exchange;
pub(crate) mod framing;
pub(crate) mod headers;
pub(crate) mod incoming;
pub(crate) mod refused_responses;
pub(crate) mod timer;
pub(crate) mod websocket;
