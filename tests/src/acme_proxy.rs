//! An ACME proxy before pebble that forwards every request and deviates where a scenario says so (fewer challenges,
//! errors with Retry-After, renewal information, a conflict over `replaces`).

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::client::Client;
use crate::pebble::{PORT, Pebble};

/// The port of the pebble behind the proxy: [`crate::pebble::PebbleConfig::port`].
pub const BEHIND: u16 = 14001;
const RENEWAL: &str = "/renewal-info";
/// Pebble's path for new orders.
pub const NEW_ORDER: &str = "/order-plz";

/// A running proxy; dropping it stops it.
#[derive(Debug)]
pub struct AcmeProxy {
    state: Arc<Mutex<State>>,
    _server: JoinSet<()>,
}

/// An error response to one request (RFC 7807, RFC 8555 §6.7).
#[derive(Debug, Clone)]
pub struct AcmeProblem {
    /// The prefix of the request's path.
    pub path: &'static str,
    /// True to refuse only orders that replace another certificate.
    pub only_replacing: bool,
    /// The HTTP status.
    pub status: u16,
    /// The last part of the problem's type, such as `rateLimited`.
    pub kind: &'static str,
    /// The human-readable text.
    pub detail: &'static str,
    /// Retry-After, in seconds.
    pub retry_after: Option<u32>,
}

/// A received request.
#[derive(Debug, Clone)]
pub struct AcmeRequest {
    /// The path of the request.
    pub path: String,
    /// The payload of the JWS; null if there is none.
    pub payload: Value,
}

#[derive(Debug, Default)]
struct State {
    seen: Vec<AcmeRequest>,
    refusals: Vec<AcmeProblem>,
    only: Option<&'static str>,
    /// The window's start and end (RFC 3339).
    window: Option<(String, String)>,
}

impl AcmeProxy {
    /// Starts a proxy before this pebble, which listens on [`BEHIND`].
    pub async fn start(pebble: &Pebble) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).await?;
        let acceptor = TlsAcceptor::from(pebble.api().issue(&["localhost"])?.server(&["http/1.1"])?);
        let behind = Client::new(SocketAddr::from((Ipv4Addr::LOCALHOST, BEHIND)), pebble.api().root())?;
        let state = Arc::<Mutex<State>>::default();
        let mut server = JoinSet::new();
        server.spawn(accept(listener, acceptor, Arc::clone(&state), behind));
        Ok(Self { state, _server: server })
    }

    /// Offers only this type of challenge from now on.
    pub fn offer_only(&self, challenge: &'static str) {
        lock(&self.state).only = Some(challenge);
    }

    /// Refuses the next request that matches; each call refuses one request.
    pub fn refuse_next(&self, refusal: AcmeProblem) {
        lock(&self.state).refusals.push(refusal);
    }

    /// Suggests this renewal window for every certificate from now on (RFC 9773; RFC 3339 times).
    pub fn set_renewal_window(&self, start: String, end: String) {
        lock(&self.state).window = Some((start, end));
    }

    /// Returns the received requests whose path has this prefix, in order.
    #[must_use]
    pub fn requests(&self, path: &str) -> Vec<AcmeRequest> {
        lock(&self.state).seen.iter().filter(|seen| seen.path.starts_with(path)).cloned().collect()
    }
}

impl State {
    /// Returns the response that replaces pebble's, if any.
    fn deviate(&mut self, seen: &AcmeRequest) -> Option<Response<Full<Bytes>>> {
        let refused = |refusal: &AcmeProblem| {
            seen.path.starts_with(refusal.path)
                && (!refusal.only_replacing || seen.payload.get("replaces").is_some())
        };
        if let Some(at) = self.refusals.iter().position(refused) {
            return Some(problem(&self.refusals.remove(at)));
        }
        let (start, end) = self.window.as_ref().filter(|_| seen.path.starts_with(RENEWAL))?;
        let body = json!({ "suggestedWindow": { "start": start, "end": end } });
        let mut response = Response::new(Full::from(body.to_string()));
        response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        response.headers_mut().insert(RETRY_AFTER, http::HeaderValue::from_static("21600"));
        Some(response)
    }

    /// Changes the body of pebble's response.
    fn amend(&self, path: &str, body: Bytes) -> Bytes {
        let Ok(mut value) = serde_json::from_slice::<Value>(&body) else { return body };
        if path == "/dir" && self.window.is_some() {
            value["renewalInfo"] = json!(format!("https://localhost:{PORT}{RENEWAL}"));
        } else if let (Some(only), Some(offered)) = (self.only, value["challenges"].as_array_mut()) {
            offered.retain(|challenge| challenge["type"] == only);
        } else {
            return body;
        }
        value.to_string().into()
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<Mutex<State>>, behind: Client) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, state, behind) = (acceptor.clone(), Arc::clone(&state), behind.clone());
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(|request| async {
                let failed = |error: anyhow::Error| {
                    let mut response = Response::new(Full::from(format!("{error:#}")));
                    *response.status_mut() = http::StatusCode::BAD_GATEWAY;
                    response
                };
                Ok::<_, Infallible>(handle(request, &state, &behind).await.unwrap_or_else(failed))
            });
            // A client may disconnect at any time.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn handle(
    request: Request<Incoming>,
    state: &Mutex<State>,
    behind: &Client,
) -> Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let seen = AcmeRequest { path: head.uri.path().to_owned(), payload: payload(&body).unwrap_or_default() };
    {
        let mut state = lock(state);
        state.seen.push(seen.clone());
        if let Some(instead) = state.deviate(&seen) {
            return Ok(instead);
        }
    }
    let mut connection = behind.connect("localhost").await?;
    let mut passed = Request::new(Full::from(body));
    *passed.method_mut() = head.method;
    *passed.uri_mut() = seen.path.parse()?;
    for name in [HOST, CONTENT_TYPE] {
        passed.headers_mut().extend(head.headers.get(&name).map(|value| (name, value.clone())));
    }
    let reply = connection.send(passed).await.context("pebble")?;
    let mut response = Response::new(Full::from(lock(state).amend(&seen.path, reply.body)));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response.headers_mut().remove(CONTENT_LENGTH);
    Ok(response)
}

/// Returns the payload of a JWS in the flattened serialization (RFC 7515 §7.2.2).
fn payload(body: &[u8]) -> Option<Value> {
    let jws: Value = serde_json::from_slice(body).ok()?;
    let bytes = URL_SAFE_NO_PAD.decode(jws["payload"].as_str()?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn problem(refusal: &AcmeProblem) -> Response<Full<Bytes>> {
    let body = json!({
        "type": format!("urn:ietf:params:acme:error:{}", refusal.kind),
        "detail": refusal.detail,
        "status": refusal.status,
    });
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = http::StatusCode::from_u16(refusal.status).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/problem+json"));
    headers.extend(refusal.retry_after.map(|seconds| (RETRY_AFTER, http::HeaderValue::from(seconds))));
    response
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
