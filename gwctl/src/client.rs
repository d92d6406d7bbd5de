//! The API client: signed JSON-RPC calls over HTTP, with retries.

mod error;
mod kind;
mod response;
mod retry;
mod transport;
mod unexpected_response;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, Response, Uri};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::sleep;
use uuid::Uuid;
use webgateway_proto::api::jsonrpc;
use webgateway_proto::httpsig::{PrivateKey, sign};
use webgateway_proto::model::KeyId;

pub use self::error::CallError;
pub use self::kind::ErrorKind;
use self::retry::{Backoff, RetryClass};
pub use self::transport::TransportError;
pub use self::unexpected_response::UnexpectedResponseError;
use crate::clock;
use crate::endpoint::Endpoint;

const AGENT: &str = concat!("gwctl/", env!("CARGO_PKG_VERSION"));

/// A private key and the key id under which the operator registered its public half.
#[derive(Debug, Clone)]
pub struct Signer {
    id: KeyId,
    key: PrivateKey,
}

/// A client of one gateway. Without a [`Signer`] it can only call methods that need no signature.
///
/// Each attempt at a call opens its own connection, uses its own nonce, and fails after 30 s or when the response
/// exceeds 16 MiB.
#[derive(Debug, Clone)]
pub struct Client {
    endpoint: Endpoint,
    signer: Option<Signer>,
    observer: Option<Arc<dyn Observer>>,
    retry_for: Duration,
}

/// Callbacks for every request, response and retry of a [`Client`]. They never receive the private key.
pub trait Observer: Debug + Send + Sync {
    /// Called before a request is sent. The request's URI is absolute; `base` is the signature base (RFC 9421 §2.5), or
    /// `None` if the request is unsigned.
    fn request(&self, request: &Request<Bytes>, base: Option<&str>) {
        let _ = (request, base);
    }

    /// Called when a response has been received completely.
    fn response(&self, response: &Response<Bytes>) {
        let _ = response;
    }

    /// Called after a failed attempt that is retried after `pause`. `elapsed` is the time since the first attempt
    /// began.
    fn retry(&self, error: &CallError, pause: Duration, elapsed: Duration) {
        let _ = (error, pause, elapsed);
    }
}

impl Signer {
    /// Creates a signer from the key's id, such as `user1.pub`, and its private key
    /// ([`keys::load`](crate::keys::load)).
    #[must_use]
    pub const fn new(id: KeyId, key: PrivateKey) -> Self {
        Self { id, key }
    }
}

impl Client {
    /// Creates a client that sends unsigned requests and never retries.
    #[must_use]
    pub const fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, signer: None, observer: None, retry_for: Duration::ZERO }
    }

    /// Signs every request with `signer`.
    #[must_use]
    pub fn signed_by(self, signer: Signer) -> Self {
        Self { signer: Some(signer), ..self }
    }

    /// Reports requests, responses and retries to `observer`.
    #[must_use]
    pub fn observed_by(self, observer: impl Observer + 'static) -> Self {
        Self { observer: Some(Arc::new(observer)), ..self }
    }

    /// Retries failed calls until `retry_for` after their first attempt. The default is no retry.
    ///
    /// Transient failures are retried: a refused or lost connection, no response, HTTP 429, 502, 503 and 504, and API
    /// errors with the code `UNAVAILABLE` (-32050). The pauses grow from 0.1 s to 5 s, or last as long as the gateway
    /// asks for.
    ///
    /// If the gateway may already have applied the failed call, only an idempotent call is retried. `routes.delete`,
    /// `nodes.invite` and `certificates.renew` are not idempotent. `routes.create` is idempotent if it has an `id`, and
    /// `routes.update` if it has no `expected_version`: its retry may overwrite a concurrent update of another caller.
    #[must_use]
    pub fn retry_for(self, retry_for: Duration) -> Self {
        Self { retry_for, ..self }
    }

    /// Calls a method of [`api::method`](crate::api::method) and returns its result. `R` is the method's result type,
    /// or [`serde_json::Value`] to keep fields that only a newer gateway knows.
    ///
    /// Transient failures are retried as configured with [`retry_for`](Self::retry_for).
    ///
    /// # Errors
    /// There is no response, it is not JSON-RPC, it contains an error, or its result does not have the type `R`.
    pub async fn call<P, R>(&self, method: &str, params: &P) -> Result<R, CallError>
    where
        P: Serialize + Sync + ?Sized,
        R: DeserializeOwned,
    {
        let params = serde_json::to_value(params).map_err(CallError::Encode)?;
        let is_idempotent = retry::is_idempotent(method, &params);
        let request = jsonrpc::Request { jsonrpc: "2.0", method, params, id: 1 };
        let body = Bytes::from(serde_json::to_vec(&request).map_err(CallError::Encode)?);
        let result = self.call_with_retries(body, is_idempotent).await?;
        serde_json::from_value(result).map_err(CallError::Decode)
    }

    async fn call_with_retries(&self, body: Bytes, is_idempotent: bool) -> Result<Value, CallError> {
        let began = Instant::now();
        let (mut backoff, mut maybe_applied) = (Backoff::new(), None);
        loop {
            let response = transport::with_timeout(self.attempt(body.clone())).await;
            let result = response.map_err(CallError::from).flatten();
            let error = match result.and_then(|response| response::parse(&response)) {
                Ok(result) => return Ok(result),
                Err(error) => error,
            };
            let class = RetryClass::of(&error);
            let min_pause = match class {
                RetryClass::NotApplied(min_pause) => Some(min_pause),
                RetryClass::MaybeApplied if is_idempotent => Some(Duration::ZERO),
                RetryClass::MaybeApplied | RetryClass::Permanent => None,
            };
            // The last pause is cut short, so that the last attempt is made exactly when `retry_for` ends.
            let left = self.retry_for.saturating_sub(began.elapsed());
            let min_pause = min_pause.filter(|min_pause| !left.is_zero() && *min_pause <= left);
            let pause = min_pause.map(|min_pause| backoff.next(min_pause).min(left));
            let Some(pause) = pause else {
                // If the last attempt got no response, an earlier error after which the call may have been applied
                // takes precedence, because the caller has to know of it.
                let has_no_response = matches!(error, CallError::Transport(_));
                return Err(maybe_applied.filter(|_| has_no_response).unwrap_or(error));
            };
            if let Some(observer) = &self.observer {
                observer.retry(&error, pause, began.elapsed());
            }
            if class == RetryClass::MaybeApplied {
                maybe_applied.get_or_insert(error);
            }
            sleep(pause).await;
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
        // The signature covers the absolute URL; the request line carries only its path (RFC 9112 §3.2.1).
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
