//! A backend that expects a PROXY protocol header on every connection, and records the headers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::proxy_header::{ReceivedHeader, read};

/// A running backend; dropping it closes its port and its connections.
#[derive(Debug)]
pub struct ProxiedBackend {
    headers: Headers,
    _server: JoinSet<()>,
}

/// The header of each connection, or the reason why it began with none.
type Headers = Arc<Mutex<Vec<Result<ReceivedHeader, String>>>>;

impl ProxiedBackend {
    /// Starts an HTTP/1.1 server, with TLS after the header if there is a configuration. The body of every response is
    /// the client's address and port, as the header of the connection announced it.
    pub async fn start(address: SocketAddr, tls: Option<Arc<ServerConfig>>) -> Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("backend on {address}"))?;
        let headers = Headers::default();
        let (recorded, acceptor) = (Arc::clone(&headers), tls.map(TlsAcceptor::from));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let (recorded, acceptor) = (Arc::clone(&recorded), acceptor.clone());
                connections.spawn(async move {
                    let header = read(&mut stream).await.map_err(|error| format!("{error:#}"));
                    let source =
                        header.as_ref().ok().and_then(|header| header.endpoints).map(|(source, _)| source);
                    let is_valid = header.is_ok();
                    recorded.lock().unwrap_or_else(PoisonError::into_inner).push(header);
                    match acceptor {
                        _ if !is_valid => {}
                        None => serve(stream, source).await,
                        Some(acceptor) => {
                            // A health check ends without a handshake.
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, source).await;
                            }
                        }
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { headers, _server: server })
    }

    /// Returns what each connection so far began with.
    #[must_use]
    pub fn headers(&self) -> Vec<Result<ReceivedHeader, String>> {
        self.headers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the headers of the clients' connections, without those of health checks. Fails if a connection did not
    /// begin with a header.
    pub fn announced(&self) -> Result<Vec<ReceivedHeader>> {
        let all = self.headers().into_iter().collect::<Result<Vec<_>, _>>().map_err(anyhow::Error::msg)?;
        Ok(all.into_iter().filter(|header| header.endpoints.is_some()).collect())
    }
}

async fn serve<S>(stream: S, source: Option<SocketAddr>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |_: Request<Incoming>| async move {
        let text = source.map_or_else(|| "nobody".to_owned(), |source| source.to_string());
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
    });
    // Broken connections are expected.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}
