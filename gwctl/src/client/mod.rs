//! The API's client: one signed JSON-RPC call over HTTP.

mod answer;
mod trace;
mod transport;

use std::io;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, Response, Uri};
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;
use uuid::Uuid;
use webgateway_proto::api::{jsonrpc, method};
use webgateway_proto::httpsig::{PrivateKey, SignFailure, sign};
use webgateway_proto::model::KeyId;

pub(crate) use self::answer::NotRpc;
use self::answer::Refusal;
pub(crate) use self::trace::Trace;
pub(crate) use self::transport::TransportFault;
use crate::args::Endpoint;
use crate::clock;

const AGENT: &str = concat!("gwctl/", env!("CARGO_PKG_VERSION"));

/// Who signs.
#[derive(Debug)]
pub(crate) struct Signer {
    pub(crate) id: KeyId,
    pub(crate) key: PrivateKey,
}

/// A client of one gateway; without a signer it can call what needs no signature.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) endpoint: Endpoint,
    pub(crate) signer: Option<Signer>,
    pub(crate) trace: Trace,
}

/// Why a call has no result.
#[derive(Debug, Error)]
pub(crate) enum CallFault {
    /// No runtime, which is the machine's fault.
    #[error("cannot start: {0}")]
    Runtime(#[from] io::Error),
    /// Params that cannot be written.
    #[error("the request cannot be written: {0}")]
    Encode(#[from] serde_json::Error),
    /// A head that cannot be built.
    #[error("the request cannot be built: {0}")]
    Build(#[from] http::Error),
    /// It cannot be signed.
    #[error("the request cannot be signed: {0}")]
    Sign(#[from] SignFailure),
    /// No answer.
    #[error(transparent)]
    Transport(#[from] TransportFault),
    /// The gateway's error.
    #[error("{}", .0.message)]
    Refused(Box<jsonrpc::ErrorObject>),
    /// An answer, but not the API's.
    #[error(transparent)]
    NotRpc(NotRpc),
}

impl Client {
    /// Calls a method and returns its result. A connection that is lost after the request was sent is tried once
    /// more where a repetition does no harm.
    pub(crate) fn call<P: Serialize>(&self, method: &str, params: &P) -> Result<Value, CallFault> {
        let request = jsonrpc::Request { jsonrpc: "2.0", method, params, id: 1 };
        let body = Bytes::from(serde_json::to_vec(&request)?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answer = runtime.block_on(transport::within_limit(self.attempts(method, &body)));
        // A name that is still being looked up shall not hold the process.
        runtime.shutdown_background();
        answer::read(&answer??).map_err(|refusal| match refusal {
            Refusal::Rpc(error) => CallFault::Refused(error),
            Refusal::NotRpc(answer) => CallFault::NotRpc(answer),
        })
    }

    async fn attempts(&self, method: &str, body: &Bytes) -> Result<Response<Bytes>, CallFault> {
        match self.attempt(body.clone()).await {
            Err(CallFault::Transport(lost @ TransportFault::Lost { .. })) if is_repeatable(method) => {
                self.trace.note("the connection was lost before the answer: once more");
                match self.attempt(body.clone()).await {
                    // The first one may have been done: that is what the user must know.
                    Err(CallFault::Transport(_)) => Err(lost.into()),
                    answer => answer,
                }
            }
            answer => answer,
        }
    }

    async fn attempt(&self, body: Bytes) -> Result<Response<Bytes>, CallFault> {
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
        self.trace.request(&request, base.as_deref());
        // What was signed is the absolute URL; what goes on the wire is its path (RFC 9112 §3.2.1).
        if let Some(path) = self.endpoint.uri().path_and_query() {
            *request.uri_mut() = Uri::from(path.clone());
        }
        let response = transport::exchange(&self.endpoint, request).await?;
        self.trace.response(&response);
        Ok(response)
    }
}

/// Whether doing it twice is as good as once. A second `routes.delete` would be answered "not found".
fn is_repeatable(method: &str) -> bool {
    method != method::ROUTES_DELETE
}
