//! The API's client: one signed JSON-RPC call over HTTP.

mod answer;
mod error;
mod kind;
mod not_rpc;
mod retry;
mod transport;

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
pub use self::not_rpc::NotRpcError;
use self::retry::{Outlook, Pauses};
pub use self::transport::TransportError;
use crate::clock;
use crate::endpoint::Endpoint;

const AGENT: &str = concat!("gwctl/", env!("CARGO_PKG_VERSION"));

/// A signing key: the private half, and the name under which the operator has the public half.
#[derive(Debug, Clone)]
pub struct Signer {
    id: KeyId,
    key: PrivateKey,
}

/// A client of one gateway. Without a signer it can call what needs no signature.
///
/// Each attempt at a call has a connection of its own, a nonce of its own and 30 s for all of it, and takes an answer of
/// 16 MiB at most.
#[derive(Debug, Clone)]
pub struct Client {
    endpoint: Endpoint,
    signer: Option<Signer>,
    observer: Option<Arc<dyn Observer>>,
    retry_for: Duration,
}

/// A witness of every request and response of a [`Client`], and of every retry. It never sees the private key.
pub trait Observer: Debug + Send + Sync {
    /// A request about to be sent, its URI absolute, and its signature base (RFC 9421 §2.5) if it is signed.
    fn request(&self, request: &Request<Bytes>, base: Option<&str>) {
        let _ = (request, base);
    }

    /// The whole response, after it was received.
    fn response(&self, response: &Response<Bytes>) {
        let _ = response;
    }

    /// A failure after which the call is made again once `pause` has passed; `elapsed` is since its first attempt.
    fn retry(&self, error: &CallError, pause: Duration, elapsed: Duration) {
        let _ = (error, pause, elapsed);
    }
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
        Self { endpoint, signer: None, observer: None, retry_for: Duration::ZERO }
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

    /// The same, and begins further attempts at a call until this long after its first; without it there is one.
    ///
    /// Tried again is what may pass: a refused or lost connection, no answer, HTTP 502, 503 and 504, and the kinds of
    /// error by which the gateway says "not now". The pauses grow from 0.1 s to 5 s, or are as long as the gateway
    /// asks for. What may have been done already is repeated only where twice is as good as once: never `routes.delete` and
    /// `certificates.renew`, a `routes.create` with an `id` alone, a `routes.update` without `expected_version` alone
    /// (which overwrites what somebody else did between the two).
    #[must_use]
    pub fn retry_for(self, retry_for: Duration) -> Self {
        Self { retry_for, ..self }
    }

    /// Calls a method of [`api::method`](crate::api::method) and returns its result, typed or as a
    /// [`serde_json::Value`] with all that a newer gateway may say.
    ///
    /// A failure that may pass is tried again for as long as [`retry_for`](Self::retry_for) says.
    ///
    /// # Errors
    /// No answer, an answer that is not the API's, the gateway's error, or a result of another shape.
    pub async fn call<P, R>(&self, method: &str, params: &P) -> Result<R, CallError>
    where
        P: Serialize + Sync + ?Sized,
        R: DeserializeOwned,
    {
        let params = serde_json::to_value(params).map_err(CallError::Encode)?;
        let is_repeatable = retry::is_repeatable(method, &params);
        let request = jsonrpc::Request { jsonrpc: "2.0", method, params, id: 1 };
        let body = Bytes::from(serde_json::to_vec(&request).map_err(CallError::Encode)?);
        let result = self.attempts(body, is_repeatable).await?;
        serde_json::from_value(result).map_err(CallError::Decode)
    }

    async fn attempts(&self, body: Bytes, is_repeatable: bool) -> Result<Value, CallError> {
        let began = Instant::now();
        let (mut pauses, mut in_doubt) = (Pauses::new(), None);
        loop {
            let answer = transport::within_limit(self.attempt(body.clone())).await;
            let error =
                match answer.map_err(CallError::from).flatten().and_then(|answer| answer::read(&answer)) {
                    Ok(result) => return Ok(result),
                    Err(error) => error,
                };
            let outlook = Outlook::of(&error);
            let least = match outlook {
                Outlook::NotDone(least) => Some(least),
                Outlook::InDoubt if is_repeatable => Some(Duration::ZERO),
                Outlook::InDoubt | Outlook::Lasting => None,
            };
            // The last attempt is made when the time is over, not before.
            let left = self.retry_for.saturating_sub(began.elapsed());
            let least = least.filter(|least| !left.is_zero() && *least <= left);
            let pause = least.map(|least| pauses.next(least).min(left));
            let Some(pause) = pause else {
                // An earlier attempt may have been done: that is what the caller must know.
                let unanswered = matches!(error, CallError::Transport(_));
                return Err(in_doubt.filter(|_| unanswered).unwrap_or(error));
            };
            if let Some(observer) = &self.observer {
                observer.retry(&error, pause, began.elapsed());
            }
            if outlook == Outlook::InDoubt {
                in_doubt.get_or_insert(error);
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
