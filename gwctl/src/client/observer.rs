//! Seeing what a client sends and receives.

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};

use super::error::CallError;

/// Is told of every request and response of a [`Client`](super::Client). The private key is never among it.
pub trait Observer: Debug + Send + Sync {
    /// A request about to be sent, its URI absolute; and its signature base (RFC 9421 §2.5) if it is signed.
    fn request(&self, request: &Request<Bytes>, base: Option<&str>) {
        let _ = (request, base);
    }

    /// The whole answer.
    fn response(&self, response: &Response<Bytes>) {
        let _ = response;
    }

    /// A failure after which the call is made again in a while; `elapsed` is since its first attempt.
    fn retry(&self, error: &CallError, pause: Duration, elapsed: Duration) {
        let _ = (error, pause, elapsed);
    }
}
