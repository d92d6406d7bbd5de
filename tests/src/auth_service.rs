//! An authentication service that decides by the path of the client's request, and remembers what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

type Body = BoxBody<Bytes, Infallible>;

/// A running authentication service; dropping it closes its port and its connections.
#[derive(Debug)]
pub struct AuthService {
    address: SocketAddr,
    questions: Arc<Mutex<Vec<Question>>>,
    _server: JoinSet<()>,
}

/// A request that the service received.
#[derive(Debug, Clone)]
pub struct Question {
    /// The method.
    pub method: Method,
    /// The target.
    pub target: String,
    /// The header fields.
    pub headers: HeaderMap,
}

impl AuthService {
    /// Starts a service. Its response depends on the path of the client's request:
    ///
    /// - `/login…`: 302 with a location and a cookie
    /// - `/deny…`: 401 with a challenge and a body
    /// - `/hang…`: none
    /// - `/stall…`: the head of a 401, and no body
    /// - `/huge…`: 403 with a body of 1 MiB
    /// - `/large…`: 200 with a body of 1 MiB
    /// - any other: 200 with `Remote-User: carol`, two fields `X-Roles`, and `X-Secret`
    pub async fn start(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("service on {address}"))?;
        let questions = Arc::new(Mutex::new(Vec::new()));
        let mut server = JoinSet::new();
        let asked = Arc::clone(&questions);
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let asked = Arc::clone(&asked);
                let service = service_fn(move |request: Request<Incoming>| {
                    let (head, _) = request.into_parts();
                    let question =
                        Question { method: head.method, target: head.uri.to_string(), headers: head.headers };
                    asked.lock().unwrap_or_else(PoisonError::into_inner).push(question.clone());
                    answer(question)
                });
                let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                connections.spawn(async move { drop(serving.await) });
            }
        });
        Ok(Self { address, questions, _server: server })
    }

    /// Returns the listen address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the requests so far.
    #[must_use]
    pub fn questions(&self) -> Vec<Question> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the last request.
    pub fn last(&self) -> Result<Question> {
        self.questions().pop().context("the service was not asked")
    }
}

impl Question {
    /// Returns the value of a header field; empty if it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

async fn answer(question: Question) -> Result<Response<Body>> {
    let path = question.header("x-forwarded-uri").to_owned();
    let response = Response::builder();
    Ok(match path.trim_start_matches('/').split(['/', '?']).next().unwrap_or_default() {
        "login" => response
            .status(302)
            .header("location", format!("https://login.example/?rd={path}"))
            .header("set-cookie", "state=1; HttpOnly")
            .body(full("to the login"))?,
        "deny" => response.status(401).header("www-authenticate", "Bearer").body(full("who are you?"))?,
        "hang" => std::future::pending().await,
        "stall" => response.status(401).body(stalled())?,
        "huge" => response.status(403).body(full(vec![b'x'; 1 << 20]))?,
        "large" => response.body(full(vec![b'x'; 1 << 20]))?,
        _ => response
            .header("remote-user", "carol")
            .header("x-roles", "admin")
            .header("x-roles", "ops")
            .header("x-secret", "not copied")
            .body(full("ok"))?,
    })
}

fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).boxed()
}

fn stalled() -> Body {
    BodyExt::boxed(StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>()))
}
