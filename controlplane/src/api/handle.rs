//! From an HTTP request to its answer, wherever it came in.

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

use super::auth::{AuthError, Authenticator, NonceReservation, Origin, Persisted};
use super::fault::{self, HttpError, unread};
use super::jsonrpc::{Answer, Body, Call, Entry, MAX_UNSIGNED};
use super::methods::{self, Services};
use super::waiting::Waiting;
use super::{docs, openrpc};
use crate::domain::{Caller, Domain, MutationAllowance};
use crate::metrics::Metrics;
use crate::store::audit::SignedRequest;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const ACCEPT: HeaderName = HeaderName::from_static("accept-signature");

/// The API; cheap to clone.
#[derive(Clone)]
pub(crate) struct Api(Arc<Inner>);

struct Inner {
    services: Services,
    auth: Authenticator,
    metrics: Metrics,
    document: Bytes,
    page: Bytes,
    docs: Bytes,
    accept_signature: HeaderValue,
}

/// The parts that the API is made of.
pub(crate) struct Parts {
    /// The rules.
    pub domain: Domain,
    /// The metrics.
    pub metrics: Metrics,
    /// Ends what waits.
    pub stop: Stop,
    /// The components that every signature covers besides those that it has to anyway.
    pub required: Vec<RequiredComponent>,
}

impl Api {
    /// Puts the API together.
    #[must_use]
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { domain, metrics, stop, required } = parts;
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
        let docs = docs::page(&document, base.as_str());
        Self(Arc::new(Inner {
            auth,
            metrics,
            document: document.to_string().into(),
            page: page.into(),
            docs: docs.into(),
            accept_signature,
            services: Services { domain, waiting: Waiting::new(stop), document },
        }))
    }

    /// Answers one request. `client` is the address it came from, for the audit.
    pub(crate) async fn handle(
        &self,
        request: Request<Bytes>,
        origin: Origin,
        client: IpAddr,
    ) -> Response<Bytes> {
        let method = request.method();
        let is_get = method == Method::GET || method == Method::HEAD;
        match request.uri().path() {
            RPC_PATH if method == Method::POST => self.rpc(request, origin, client).await,
            RPC_PATH => not_allowed("POST"),
            OPENRPC_PATH if is_get => answer(StatusCode::OK, JSON, self.0.document.clone()),
            DOCS_PATH if is_get => page(self.0.docs.clone()),
            "/" if is_get => page(self.0.page.clone()),
            OPENRPC_PATH | DOCS_PATH | "/" => not_allowed("GET, HEAD"),
            _ => {
                let text = "here are /rpc, /docs, /openrpc.json and /\n";
                answer(StatusCode::NOT_FOUND, TEXT, Bytes::from_static(text.as_bytes()))
            }
        }
    }

    /// Refuses a request whose body never came whole.
    pub(super) fn refuse(&self, refused: HttpError) -> Response<Bytes> {
        let HttpError { status, error } = refused;
        self.0.metrics.refused(reason(&error));
        json(status, &Answer::error(error))
    }

    async fn rpc(&self, request: Request<Bytes>, origin: Origin, client: IpAddr) -> Response<Bytes> {
        if request.body().len() > MAX_BODY {
            return self.refuse(unread::too_large(MAX_BODY));
        }
        if !is_json(request.headers()) {
            return self.refuse(unread::not_json());
        }
        match self.answer(&request, origin, client).await {
            Ok(answer) => answer,
            Err(Rejected::Unauthenticated(failure)) => {
                let mut refused = self.refuse(fault::unauthenticated(&failure));
                if refused.status() == StatusCode::UNAUTHORIZED {
                    refused.headers_mut().insert(ACCEPT, self.0.accept_signature.clone());
                }
                refused
            }
            Err(Rejected::Malformed(error)) => json(StatusCode::OK, &Answer::error(error)),
        }
    }

    async fn answer(
        &self,
        request: &Request<Bytes>,
        origin: Origin,
        client: IpAddr,
    ) -> Result<Response<Bytes>, Rejected> {
        let AdmittedRequest { body, caller, allowance, persisted } =
            self.admit(request, origin, client).await?;
        let answer = self.run(body, caller, allowance).await;
        // The calls did not wait for the nonce to be on the disk; their answer does.
        if let Some(persisted) = persisted {
            persisted.await?;
        }
        Ok(answer)
    }

    /// The body of a request that may be executed: signed, or with nothing in it that needs to be.
    async fn admit(
        &self,
        request: &Request<Bytes>,
        origin: Origin,
        client: IpAddr,
    ) -> Result<AdmittedRequest, Rejected> {
        let headers = request.headers();
        let is_signed = headers.contains_key("signature") || headers.contains_key("signature-input");
        let verified = match is_signed {
            true => Some(self.0.auth.verify(request, origin).await?),
            false => None,
        };
        let body = Body::read(request.body()).map_err(|m| Rejected::Malformed(fault::malformed(&m)))?;
        let found = |call: &Call| methods::find(&call.method);
        let Some(verified) = verified else {
            // Their answers are larger than they are: a stranger gets few at a time.
            let is_open = body.calls().count() <= MAX_UNSIGNED
                && body.calls().all(|call| found(call).is_some_and(|method| !method.signed));
            let unsigned = || AuthError::Signature(SignatureError::Unsigned);
            return if is_open {
                Ok(AdmittedRequest {
                    body,
                    caller: None,
                    allowance: MutationAllowance::all(0),
                    persisted: None,
                })
            } else {
                Err(unsigned().into())
            };
        };
        let mutations = body.calls().filter(|call| found(call).is_some_and(|method| method.mutates)).count();
        self.0.auth.spend_nonce(&verified, mutations > 0)?;
        let caller = self.0.services.domain.caller(verified.key_id.clone(), client);
        let allowance = self.0.services.domain.quotas.grant(&caller, mutations);
        if !allowance.any() {
            return Ok(AdmittedRequest { body, caller: Some(caller), allowance, persisted: None });
        }
        // For the audit; what changes nothing has no record there.
        let evidence = Evidence::new(&verified.signed, request.body());
        let NonceReservation { nonce_check, persisted } = self.0.auth.reserve_nonce(&verified)?;
        let caller = caller.asking(SignedRequest { evidence, nonce_check });
        Ok(AdmittedRequest { body, caller: Some(caller), allowance, persisted: Some(persisted) })
    }

    async fn run(
        &self,
        body: Body,
        caller: Option<Caller>,
        mut allowance: MutationAllowance,
    ) -> Response<Bytes> {
        match body {
            Body::Single(entry) => match self.run_entry(entry, caller.as_ref(), &mut allowance).await {
                Some(answer) => json(StatusCode::OK, &answer),
                None => nothing(),
            },
            Body::Batch(entries) => {
                let mut answers = Vec::with_capacity(entries.len());
                for entry in entries {
                    answers.extend(self.run_entry(entry, caller.as_ref(), &mut allowance).await);
                }
                if answers.is_empty() { nothing() } else { json(StatusCode::OK, &answers) }
            }
        }
    }

    /// Runs one call; `None` if nobody waits for its answer.
    async fn run_entry(
        &self,
        entry: Entry,
        caller: Option<&Caller>,
        allowance: &mut MutationAllowance,
    ) -> Option<Answer> {
        let call = match entry {
            Ok(call) => call,
            Err(malformed) => {
                self.0.metrics.call("unknown", "invalid_request");
                return Some(Answer::new(Err(fault::malformed(&malformed)), malformed.id()?));
            }
        };
        let outcome = self.run_call(&call, caller, allowance).await;
        Some(Answer::new(outcome, call.id?))
    }

    async fn run_call(
        &self,
        call: &Call,
        caller: Option<&Caller>,
        allowance: &mut MutationAllowance,
    ) -> Result<Box<RawValue>, ErrorObject> {
        let Some(method) = methods::find(&call.method) else {
            self.0.metrics.call("unknown", "method_not_found");
            return Err(fault::no_method(&call.method));
        };
        let allowed = if method.mutates { allowance.spend() } else { Ok(()) };
        let outcome = match allowed {
            Ok(()) => (method.run)(&self.0.services, caller, call.params.as_deref()).await,
            Err(refusal) => Err(fault::refused(&refusal)),
        };
        let word = outcome.as_ref().map_or_else(reason, |_| "ok");
        self.0.metrics.call(method.name, word);
        outcome
    }
}

/// A request that may be executed.
struct AdmittedRequest {
    body: Body,
    caller: Option<Caller>,
    allowance: MutationAllowance,
    persisted: Option<Persisted>,
}

/// A request that is not executed.
enum Rejected {
    /// The request is not signed as it must be.
    Unauthenticated(AuthError),
    /// There are no calls in it.
    Malformed(ErrorObject),
}

impl From<AuthError> for Rejected {
    fn from(failure: AuthError) -> Self {
        Self::Unauthenticated(failure)
    }
}

/// The stable word for an error.
fn reason(error: &ErrorObject) -> &str {
    error.data.as_ref().map_or("unknown", |data| &data.kind)
}

/// Returns true if the body is said to be JSON, or nothing is said.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return true };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn json<T: Serialize>(status: StatusCode, body: &T) -> Response<Bytes> {
    match serde_json::to_vec(body) {
        Ok(text) => answer(status, JSON, text.into()),
        Err(error) => {
            let fault = fault::internal("an answer cannot be written", &error);
            answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, fault.message.into_owned().into())
        }
    }
}

fn nothing() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// A page of ours: it loads nothing and runs nothing.
fn page(html: Bytes) -> Response<Bytes> {
    let mut page = answer(StatusCode::OK, HTML, html);
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    page.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    page
}

fn not_allowed(methods: &'static str) -> Response<Bytes> {
    let mut refused = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, format!("{methods} only\n").into());
    refused.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    refused
}

fn answer(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
