//! Seeing what a client sends and receives.

use std::fmt::Debug;

use bytes::Bytes;
use http::{Request, Response};

/// Is told of every request and response of a [`Client`](super::Client). The private key is never among it.
pub trait Observer: Debug + Send + Sync {
    /// A request about to be sent, its URI absolute; and its signature base (RFC 9421 §2.5) if it is signed.
    fn request(&self, request: &Request<Bytes>, base: Option<&str>);

    /// The whole answer.
    fn response(&self, response: &Response<Bytes>);

    /// What the client does by itself and why, in a few words.
    fn note(&self, text: &str);
}
