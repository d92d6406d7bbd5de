//! Proxied HTTP messages: heads, framing, bodies, the progress of requests, and error responses.

pub(crate) mod backlog;
pub(crate) mod body;
pub(crate) mod bounds;
mod cut;
pub(crate) mod error;
pub(crate) mod exchange;
pub(crate) mod framing;
pub(crate) mod grpc;
pub(crate) mod headers;
pub(crate) mod incoming;
pub(crate) mod refused_responses;
mod stalled;
pub(crate) mod timer;
pub(crate) mod websocket;
