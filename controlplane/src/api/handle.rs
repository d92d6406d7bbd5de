//! Handles HTTP requests to the API, from the `[rpc]` listener and from nodes.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;
use webgateway_process::Stop;
use webgateway_proto::api::jsonrpc::ErrorObject;
use webgateway_proto::api::{DOCS_PATH, MAX_BODY, OPENRPC_PATH, RPC_PATH};
use webgateway_proto::httpsig::{Evidence, RequiredComponent, SignatureError, accept_signature};

use super::auth::{AuthError, Authenticator, NonceReservation, NonceWrite, RequestSource};
use super::errors::{self, HttpError, authentication, request_body};
use super::jsonrpc::{Call, MAX_UNSIGNED_BATCH, ParsedCall, RequestBody, RpcResponse};
use super::long_poll::LongPolls;
use super::methods::{self, Services};
use super::{docs, openrpc};
use crate::domain::{Caller, Domain, MutationAllowance};
use crate::metrics::Metrics;
use crate::store::audit::SignedRequest;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const ACCEPT_SIGNATURE: HeaderName = HeaderName::from_static("accept-signature");

/// The API. Clones share their state.
#[derive(Clone)]
pub(crate) struct Api(Arc<ApiInner>);

struct ApiInner {
    services: Services,
    auth: Authenticator,
    metrics: Metrics,
    document: Bytes,
    page: Bytes,
    docs: Bytes,
    accept_signature: HeaderValue,
}

/// The arguments of [`Api::new`].
pub(crate) struct ApiParts {
    /// The rules of routes, users and nodes.
    pub domain: Domain,
    /// The metrics of the process.
    pub metrics: Metrics,
    /// The stop signal of the process, which ends long polls.
    pub stop: Stop,
    /// The components that every signature must cover in addition to the ones that are always required.
    pub required: Vec<RequiredComponent>,
}

impl Api {
    /// Creates the API and renders its documents.
    #[must_use]
    pub(crate) fn new(parts: ApiParts) -> Self {
        let ApiParts { domain, metrics, stop, required } = parts;
        let (base, document) = (domain.hosts.base().clone(), openrpc::document());
        let accept_signature = accept_signature(&required);
        let auth = Authenticator::new(
            domain.keys.clone(),
            base.clone(),
            domain.store.clone(),
            domain.clock,
            required,
        );
        let page = include_str!("page.html").replace("{base}", base.as_str());
        let docs = docs::render(&document, base.as_str());
        Self(Arc::new(ApiInner {
            auth,
            metrics,
            document: document.to_string().into(),
            page: page.into(),
            docs: docs.into(),
            accept_signature,
            services: Services { domain, long_polls: LongPolls::new(stop), document },
        }))
    }

    /// Handles one request. `client` is the address for the audit log.
    pub(crate) async fn handle(
        &self,
        request: Request<Bytes>,
        source: RequestSource,
        client: IpAddr,
    ) -> Response<Bytes> {
        let method = request.method();
        let is_get = method == Method::GET || method == Method::HEAD;
        match request.uri().path() {
            RPC_PATH if method == Method::POST => self.rpc(request, source, client).await,
            RPC_PATH => method_not_allowed("POST"),
            OPENRPC_PATH if is_get => response(StatusCode::OK, JSON, self.0.document.clone()),
            DOCS_PATH if is_get => html_page(self.0.docs.clone()),
            "/" if is_get => html_page(self.0.page.clone()),
            OPENRPC_PATH | DOCS_PATH | "/" => method_not_allowed("GET, HEAD"),
            _ => {
                let text = "not found: this server has /rpc, /docs, /openrpc.json and /\n";
                response(StatusCode::NOT_FOUND, TEXT, Bytes::from_static(text.as_bytes()))
            }
        }
    }

    /// Counts a request that fails as a whole, and returns its response.
    pub(super) fn refuse(&self, error: HttpError) -> Response<Bytes> {
        let HttpError { status, error } = error;
        self.0.metrics.refused(error_kind(&error));
        json(status, &RpcResponse::error(error))
    }

    async fn rpc(&self, request: Request<Bytes>, source: RequestSource, client: IpAddr) -> Response<Bytes> {
        if request.body().len() > MAX_BODY {
            return self.refuse(request_body::too_large(MAX_BODY));
        }
        if !is_json(request.headers()) {
            return self.refuse(request_body::not_json());
        }
        match self.respond(&request, source, client).await {
            Ok(response) => response,
            Err(RequestError::Unauthenticated(error)) => {
                let mut response = self.refuse(authentication::unauthenticated(&error));
                if response.status() == StatusCode::UNAUTHORIZED {
                    response.headers_mut().insert(ACCEPT_SIGNATURE, self.0.accept_signature.clone());
                }
                response
            }
            Err(RequestError::InvalidBody(error)) => json(StatusCode::OK, &RpcResponse::error(error)),
        }
    }

    async fn respond(
        &self,
        request: &Request<Bytes>,
        source: RequestSource,
        client: IpAddr,
    ) -> Result<Response<Bytes>, RequestError> {
        let AdmittedRequest { body, caller, allowance, nonce_write } =
            self.authenticate(request, source, client).await?;
        let response = self.run_body(body, caller, allowance).await;
        // The calls run while the nonce is being written; the response waits until it is on the disk.
        if let Some(nonce_write) = nonce_write {
            nonce_write.await?;
        }
        Ok(response)
    }

    /// Authenticates a request and parses its body. An unsigned request is accepted if none of its methods requires a
    /// signature and it has at most [`MAX_UNSIGNED_BATCH`] calls.
    async fn authenticate(
        &self,
        request: &Request<Bytes>,
        source: RequestSource,
        client: IpAddr,
    ) -> Result<AdmittedRequest, RequestError> {
        let headers = request.headers();
        let is_signed = headers.contains_key("signature") || headers.contains_key("signature-input");
        let verified = match is_signed {
            true => Some(self.0.auth.verify(request, source).await?),
            false => None,
        };
        let body = RequestBody::parse(request.body())
            .map_err(|error| RequestError::InvalidBody(errors::envelope_error(&error)))?;
        let find = |call: &Call| methods::find(&call.method);
        let Some(verified) = verified else {
            // Unsigned batches are limited, because their responses are larger than the requests.
            let is_allowed = body.calls().count() <= MAX_UNSIGNED_BATCH
                && body.calls().all(|call| find(call).is_some_and(|method| !method.signed));
            if !is_allowed {
                return Err(AuthError::Signature(SignatureError::Unsigned).into());
            }
            let allowance = MutationAllowance::full(0);
            return Ok(AdmittedRequest { body, caller: None, allowance, nonce_write: None });
        };
        let mutations = body.calls().filter(|call| find(call).is_some_and(|method| method.mutates)).count();
        self.0.auth.spend_nonce(&verified, mutations > 0)?;
        let caller = self.0.services.domain.caller(verified.key_id.clone(), client);
        let caller = caller.with_key(verified.signed.key.clone(), verified.signed.algorithm);
        let allowance = self.0.services.domain.quotas.reserve(&caller, mutations);
        if !allowance.has_any() {
            return Ok(AdmittedRequest { body, caller: Some(caller), allowance, nonce_write: None });
        }
        // Only mutations have audit records.
        let evidence = Evidence::new(&verified.signed, request.body());
        let NonceReservation { nonce_check, nonce_write } = self.0.auth.reserve_nonce(&verified)?;
        let caller = caller.with_request(SignedRequest { evidence, nonce_check });
        Ok(AdmittedRequest { body, caller: Some(caller), allowance, nonce_write: Some(nonce_write) })
    }

    async fn run_body(
        &self,
        body: RequestBody,
        caller: Option<Caller>,
        mut allowance: MutationAllowance,
    ) -> Response<Bytes> {
        match body {
            RequestBody::Single(entry) => {
                match self.run_entry(entry, caller.as_ref(), &mut allowance).await {
                    Some(response) => json(StatusCode::OK, &response),
                    None => no_content(),
                }
            }
            RequestBody::Batch(entries) => {
                let mut responses = Vec::with_capacity(entries.len());
                for entry in entries {
                    responses.extend(self.run_entry(entry, caller.as_ref(), &mut allowance).await);
                }
                if responses.is_empty() { no_content() } else { json(StatusCode::OK, &responses) }
            }
        }
    }

    /// Runs one call and returns its response; `None` for a notification.
    async fn run_entry(
        &self,
        entry: ParsedCall,
        caller: Option<&Caller>,
        allowance: &mut MutationAllowance,
    ) -> Option<RpcResponse> {
        let call = match entry {
            Ok(call) => call,
            Err(error) => {
                self.0.metrics.call("unknown", "invalid_request");
                return Some(RpcResponse::new(Err(errors::envelope_error(&error)), error.id()?));
            }
        };
        let outcome = self.run_call(&call, caller, allowance).await;
        Some(RpcResponse::new(outcome, call.id?))
    }

    async fn run_call(
        &self,
        call: &Call,
        caller: Option<&Caller>,
        allowance: &mut MutationAllowance,
    ) -> Result<Box<RawValue>, ErrorObject> {
        let Some(method) = methods::find(&call.method) else {
            self.0.metrics.call("unknown", "method_not_found");
            return Err(errors::method_not_found(&call.method));
        };
        let allowed = if method.mutates { allowance.spend() } else { Ok(()) };
        let outcome = match allowed {
            Ok(()) => (method.run)(&self.0.services, caller, call.params.as_deref()).await,
            Err(refusal) => Err(errors::domain_error(&refusal)),
        };
        let status = outcome.as_ref().map_or_else(error_kind, |_| "ok");
        self.0.metrics.call(method.name, status);
        outcome
    }
}

/// An authenticated request, or one that needs no signature.
struct AdmittedRequest {
    body: RequestBody,
    caller: Option<Caller>,
    allowance: MutationAllowance,
    nonce_write: Option<NonceWrite>,
}

/// The reason why none of the calls of a request is run.
enum RequestError {
    /// The request is not authenticated.
    Unauthenticated(AuthError),
    /// The body is not JSON, or a batch that is empty or too large.
    InvalidBody(ErrorObject),
}

impl From<AuthError> for RequestError {
    fn from(error: AuthError) -> Self {
        Self::Unauthenticated(error)
    }
}

/// Returns the kind of an error, for metrics.
fn error_kind(error: &ErrorObject) -> &str {
    error.data.as_ref().map_or("unknown", |data| &data.kind)
}

/// Returns true if the media type is JSON, or absent.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return true };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn json<T: Serialize>(status: StatusCode, body: &T) -> Response<Bytes> {
    match serde_json::to_vec(body) {
        Ok(text) => response(status, JSON, text.into()),
        Err(error) => {
            let error = errors::log_internal_error("a response cannot be serialized", &error);
            response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.message.into_owned().into())
        }
    }
}

fn no_content() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Returns an HTML page, with a policy that allows no scripts and loads nothing.
fn html_page(html: Bytes) -> Response<Bytes> {
    let mut page = response(StatusCode::OK, HTML, html);
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    page.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    page
}

fn method_not_allowed(methods: &'static str) -> Response<Bytes> {
    let mut response =
        response(StatusCode::METHOD_NOT_ALLOWED, TEXT, format!("method not allowed: use {methods}\n").into());
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

fn response(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
