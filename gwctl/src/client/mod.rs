//! The API's client: one signed JSON-RPC call over HTTP.

mod answer;
mod error;
mod observer;
mod transport;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, Response, Uri};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;
use webgateway_proto::api::{jsonrpc, method};
use webgateway_proto::httpsig::{PrivateKey, sign};
use webgateway_proto::model::KeyId;

pub use self::answer::NotRpc;
pub use self::error::{CallError, ErrorKind};
pub use self::observer::Observer;
pub use self::transport::TransportError;
use crate::clock;
use crate::endpoint::Endpoint;

const AGENT: &str = concat!("gwctl/", env!("CARGO_PKG_VERSION"));

/// Who signs: a private key, and the name under which the operator has its public half.
#[derive(Debug, Clone)]
pub struct Signer {
    id: KeyId,
    key: PrivateKey,
}

/// A client of one gateway. Without a signer it can call what needs no signature.
///
/// Each call has a connection of its own, 30 s for all of it, and takes an answer of 16 MiB at most.
#[derive(Debug, Clone)]
pub struct Client {
    endpoint: Endpoint,
    signer: Option<Signer>,
    observer: Option<Arc<dyn Observer>>,
}

impl Signer {
    /// Takes the key's id with the operator, such as `user1.pub`, and the private key ([`keys::load`](crate::keys::load)).
    #[must_use]
    pub const fn new(id: KeyId, key: PrivateKey) -> Self {
        Self { id, key }
    }
}

impl Client {
    /// A client that does not sign.
    #[must_use]
    pub const fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, signer: None, observer: None }
    }

    /// The same, and signs every request.
    #[must_use]
    pub fn signed_by(self, signer: Signer) -> Self {
        Self { signer: Some(signer), ..self }
    }

    /// The same, and tells what it sends and receives.
    #[must_use]
    pub fn observed_by(self, observer: impl Observer + 'static) -> Self {
        Self { observer: Some(Arc::new(observer)), ..self }
    }

    /// Calls a method of [`api::method`](crate::api::method) and returns its result, typed or as a
    /// [`serde_json::Value`] with all that a newer gateway may say.
    ///
    /// A connection that is lost after the request was sent is tried once more where a repetition does no harm.
    ///
    /// # Errors
    /// No answer, an answer that is not the API's, the gateway's error, or a result of another shape.
    pub async fn call<P, R>(&self, method: &str, params: &P) -> Result<R, CallError>
    where
        P: Serialize + Sync + ?Sized,
        R: DeserializeOwned,
    {
        let request = jsonrpc::Request { jsonrpc: "2.0", method, params, id: 1 };
        let body = Bytes::from(serde_json::to_vec(&request).map_err(CallError::Encode)?);
        let answer = transport::within_limit(self.attempts(method, &body)).await??;
        serde_json::from_value(answer::read(&answer)?).map_err(CallError::Decode)
    }

    async fn attempts(&self, method: &str, body: &Bytes) -> Result<Response<Bytes>, CallError> {
        match self.attempt(body.clone()).await {
            Err(CallError::Transport(lost @ TransportError::Lost { .. })) if is_repeatable(method) => {
                if let Some(observer) = &self.observer {
                    observer.note("the connection was lost before the answer: once more");
                }
                match self.attempt(body.clone()).await {
                    // The first one may have been done: that is what the caller must know.
                    Err(CallError::Transport(_)) => Err(lost.into()),
                    answer => answer,
                }
            }
            answer => answer,
        }
    }

    async fn attempt(&self, body: Bytes) -> Result<Response<Bytes>, CallError> {
        let mut request = Request::post(self.endpoint.uri())
            .header(HOST, self.endpoint.authority())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, AGENT)
            .body(body)?;
        let base = match &self.signer {
            Some(signer) => {
                let nonce = Uuid::new_v4().simple().to_string();
                Some(sign(&mut request, &signer.key, &signer.id, clock::unix_now(), &nonce)?)
            }
            None => None,
        };
        if let Some(observer) = &self.observer {
            observer.request(&request, base.as_deref());
        }
        // What was signed is the absolute URL; what goes on the wire is its path (RFC 9112 §3.2.1).
        if let Some(path) = self.endpoint.uri().path_and_query() {
            *request.uri_mut() = Uri::from(path.clone());
        }
        let response = transport::exchange(&self.endpoint, request).await?;
        if let Some(observer) = &self.observer {
            observer.response(&response);
        }
        Ok(response)
    }
}

/// Whether doing it twice is as good as once. A second `routes.delete` would be answered "not found".
fn is_repeatable(method: &str) -> bool {
    method != method::ROUTES_DELETE
}
