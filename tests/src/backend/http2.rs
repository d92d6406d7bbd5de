//! Backends that speak HTTP/2, with prior knowledge or over TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::{Backend, Counters, full, handle};
use crate::grpc::GrpcService;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A backend that speaks HTTP/2.
#[derive(Debug)]
pub struct Http2Backend {
    backend: Backend,
    grpc: GrpcService,
    drain: watch::Sender<u64>,
}

/// The configuration of a backend that speaks HTTP/2.
#[derive(Debug, Clone)]
pub struct Http2Config {
    /// The TLS configuration; `None` for prior knowledge.
    pub tls: Option<Arc<ServerConfig>>,
    /// The maximum number of concurrent streams on a connection.
    pub streams: u32,
}

impl Default for Http2Config {
    fn default() -> Self {
        Self { tls: None, streams: 100 }
    }
}

/// The parts that the connections of a backend share.
#[derive(Clone)]
struct Served {
    address: SocketAddr,
    counters: Arc<Counters>,
    grpc: GrpcService,
    drain: watch::Receiver<u64>,
    streams: u32,
}

impl Http2Backend {
    /// Starts a backend with the paths of [`Backend::http`], with [`GrpcService`], and with `/upload`: the number of bytes
    /// of the request.
    pub async fn start(address: SocketAddr, config: Http2Config) -> Result<Self> {
        let (drain, draining) = watch::channel(0);
        let (grpc, acceptor) = (GrpcService::default(), config.tls.map(TlsAcceptor::from));
        let served = grpc.clone();
        let backend = Backend::serve(address, move |stream, counters| {
            let (grpc, drain, acceptor) = (served.clone(), draining.clone(), acceptor.clone());
            let served = Served { address, counters, grpc, drain, streams: config.streams };
            async move {
                match acceptor {
                    None => http2(stream, served).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            http2(stream, served).await;
                        }
                    }
                }
            }
        });
        Ok(Self { backend: backend.await?, grpc, drain })
    }

    /// Returns the counters of the backend.
    #[must_use]
    pub fn counted(&self) -> &Backend {
        &self.backend
    }

    /// Returns the gRPC service.
    #[must_use]
    pub fn grpc(&self) -> &GrpcService {
        &self.grpc
    }

    /// Shuts all connections down gracefully, with GOAWAY.
    pub fn drain(&self) {
        self.drain.send_modify(|count| *count += 1);
    }
}

async fn http2<S>(stream: S, served: Served)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut drain, streams) = (served.drain.clone(), served.streams);
    drain.mark_unchanged();
    let service = service_fn(move |request: Request<Incoming>| {
        let served = served.clone();
        served.counters.requests.fetch_add(1, Ordering::SeqCst);
        async move { Ok::<_, Infallible>(respond(request, served).await) }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.max_concurrent_streams(streams).max_header_list_size(256 * 1024);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
    loop {
        tokio::select! {
            _ = serving.as_mut() => return,
            Ok(()) = drain.changed() => serving.as_mut().graceful_shutdown(),
        }
    }
}

async fn respond(request: Request<Incoming>, served: Served) -> Response<Body> {
    let failed = |error: anyhow::Error| {
        let mut response = Response::new(full(error.to_string()).boxed_unsync());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response
    };
    let path = request.uri().path();
    if path.starts_with("/test.Echo/") {
        let response = served.grpc.call(request).await;
        return response.map(|body| body.map_err(std::io::Error::other).boxed_unsync());
    }
    if path == "/upload" {
        return upload(request).await.unwrap_or_else(failed);
    }
    let (upgrades, _) = tokio::sync::mpsc::unbounded_channel();
    let handled = handle(request, served.address, &upgrades).await;
    handled.map_or_else(failed, |response| response.map(BodyExt::boxed_unsync))
}

async fn upload(request: Request<Incoming>) -> Result<Response<Body>> {
    let (mut body, mut bytes) = (request.into_body(), 0);
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(Response::new(full(bytes.to_string()).boxed_unsync()))
}
