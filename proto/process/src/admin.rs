//! The admin server with `/metrics`, `/readyz` and `/livez`, for the operator's network only.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::debug;

use crate::accept::Acceptor;
use crate::listen::{self, ListenOptions};
use crate::{BindError, Readiness, Stop, Tasks};

const MAX_CONNECTIONS: usize = 64;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum duration of a connection. A scrape or probe needs less.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);

/// A bound admin server.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
}

#[derive(Clone)]
struct Admin {
    registry: Arc<Registry>,
    readiness: Readiness,
    stop: Stop,
}

/// Binds `admin_listen`.
pub async fn bind(address: SocketAddr) -> Result<AdminServer, BindError> {
    let failed = |source: io::Error| BindError {
        what: "metrics and probes",
        address: address.to_string(),
        key: "admin_listen",
        source,
    };
    let listener = listen::tcp(address, ListenOptions::default()).and_then(TcpListener::from_std);
    let listener = listener.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(AdminServer { listener, address })
}

impl AdminServer {
    /// Returns the bound address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the stop is cut short, so that a draining process can still be monitored.
    pub fn serve(self, tasks: &Tasks, registry: Arc<Registry>, readiness: Readiness) {
        let admin = Admin { registry, readiness, stop: tasks.stop().clone() };
        let acceptor = Acceptor {
            name: "admin",
            listener: self.listener,
            admission: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            errors: tasks.metrics().accept_errors("admin"),
        };
        let connections = tasks.clone();
        tasks.lasting(
            "admin",
            acceptor.run(move |stream, _, permit| {
                let admin = admin.clone();
                connections.background("admin connection", async move {
                    serve_connection(stream, admin).await;
                    drop(permit);
                });
            }),
        );
    }
}

async fn serve_connection(stream: TcpStream, admin: Admin) {
    let service = service_fn(move |request| {
        let response = respond(&admin, &request);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        debug!(%error, "admin connection failed");
    }
}

fn respond(admin: &Admin, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
        refused.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "live\n"),
        "/readyz" if admin.stop.is_stopping() => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        "/readyz" => match admin.readiness.blockers() {
            blockers if blockers.is_empty() => text(StatusCode::OK, "ready\n"),
            blockers => {
                text(StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {}\n", blockers.join(", ")))
            }
        },
        "/metrics" => metrics(&admin.registry),
        _ => text(StatusCode::NOT_FOUND, "not found: the paths are /metrics, /readyz and /livez\n"),
    }
}

fn metrics(registry: &Registry) -> Response<Full<Bytes>> {
    let mut body = String::new();
    if prometheus_client::encoding::text::encode(&mut body, registry).is_err() {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be encoded\n");
    }
    let mut response = text(StatusCode::OK, body);
    let open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let value = header::HeaderValue::from_static(open_metrics);
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let value = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}
