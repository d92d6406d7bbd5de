//! Backends: an HTTP server whose responses depend on the path, and raw TCP servers that misbehave.

pub mod http2;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use serde_json::json;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::websocket;

type Body = BoxBody<Bytes, std::io::Error>;

/// A running backend; dropping it closes its port and its connections.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    counters: Arc<Counters>,
    _server: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU64,
    open: AtomicU64,
    requests: AtomicU64,
}

/// The behaviour of a [`Backend::raw`] on each connection after the first bytes arrived.
#[derive(Debug, Clone)]
pub enum RawBehaviour {
    /// Sends these bytes and closes.
    Respond(Vec<u8>),
    /// Sends these bytes and resets.
    RespondAndReset(Vec<u8>),
    /// Sends these bytes and continues to read.
    RespondAndRead(Vec<u8>),
    /// Sends these bytes in response to this many requests, reads one more and closes without a response.
    RespondTimes(Vec<u8>, u64),
    /// Closes without a response.
    Close,
    /// Echoes every byte until the peer's FIN, then sends `bye` and closes.
    Echo,
    /// Reads and never responds.
    Silence,
}

impl Backend {
    /// Starts an HTTP/1.1 server. Its paths:
    ///
    /// - `/slow/<ms>`: a delayed response
    /// - `/stream/<n>`: n chunks
    /// - `/bytes/<n>`: n bytes
    /// - `/numbers/<n>`: n bytes, each [`number_at`] its offset
    /// - `/break`: a body that breaks off after one chunk
    /// - `/status/<code>`: a response with this status
    /// - `/trailers`: a response with trailers
    /// - `/ws`: a WebSocket that echoes; `/ws/<ms>`: one that opens late
    /// - any other: the request, as JSON `{backend, method, target, headers: [[name, value]], body}`
    ///
    /// The prefix `/.well-known/acme-challenge` before any of these paths is ignored.
    pub async fn http(address: SocketAddr) -> Result<Self> {
        Self::serve(address, move |stream, counters| http(stream, address, counters)).await
    }

    /// Starts the same server with TLS.
    pub async fn https(address: SocketAddr, config: Arc<ServerConfig>) -> Result<Self> {
        let acceptor = TlsAcceptor::from(config);
        Self::serve(address, move |stream, counters| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    http(stream, address, counters).await;
                }
            }
        })
        .await
    }

    /// Starts a TCP server that speaks no protocol.
    pub async fn raw(address: SocketAddr, behaviour: RawBehaviour) -> Result<Self> {
        Self::serve(address, move |stream, counters| {
            let behaviour = behaviour.clone();
            // Broken connections are expected.
            async move { drop(misbehave(stream, &behaviour, &counters).await) }
        })
        .await
    }

    async fn serve<F, R>(address: SocketAddr, serve: F) -> Result<Self>
    where
        F: Fn(TcpStream, Arc<Counters>) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.with_context(|| format!("backend on {address}"))?;
        let address = listener.local_addr()?;
        let counters = Arc::new(Counters::default());
        let mut server = JoinSet::new();
        let counted = Arc::clone(&counters);
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                drop(stream.set_nodelay(true));
                let counters = Arc::clone(&counted);
                counters.connections.fetch_add(1, Ordering::SeqCst);
                counters.open.fetch_add(1, Ordering::SeqCst);
                let serving = serve(stream, Arc::clone(&counters));
                connections.spawn(async move {
                    serving.await;
                    counters.open.fetch_sub(1, Ordering::SeqCst);
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, counters, _server: server })
    }

    /// Returns the listen address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of accepted connections.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.counters.connections.load(Ordering::SeqCst)
    }

    /// Returns the number of open connections.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.counters.open.load(Ordering::SeqCst)
    }

    /// Returns the number of requests of which the head was read.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.counters.requests.load(Ordering::SeqCst)
    }
}

/// A port that neither accepts nor refuses connections: its queue is full, so that connection attempts hang.
#[derive(Debug)]
pub struct BlackHole {
    address: SocketAddr,
    _listener: Socket,
    _queued: Vec<Socket>,
}

impl BlackHole {
    /// Starts a listener that never accepts, and fills its queue.
    pub fn at(address: SocketAddr) -> Result<Self> {
        let listener = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        listener.bind(&address.into())?;
        listener.listen(0)?;
        let mut queued = Vec::new();
        // A queue of length n holds n + 1 connections; what follows stays in SYN-SENT.
        for _ in 0..4 {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            drop(socket.connect(&address.into()));
            queued.push(socket);
        }
        Ok(Self { address, _listener: listener, _queued: queued })
    }

    /// Returns the address that connection attempts hang at.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn misbehave(
    mut stream: TcpStream,
    behaviour: &RawBehaviour,
    counters: &Counters,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut read = stream.read(&mut buffer).await?;
    if read > 0 {
        counters.requests.fetch_add(1, Ordering::SeqCst);
    }
    match behaviour {
        RawBehaviour::Respond(bytes) => {
            stream.write_all(bytes).await?;
            stream.shutdown().await?;
            while stream.read(&mut buffer).await? > 0 {}
        }
        RawBehaviour::RespondAndReset(bytes) => {
            stream.write_all(bytes).await?;
            stream.set_zero_linger()?;
        }
        RawBehaviour::RespondAndRead(bytes) => {
            stream.write_all(bytes).await?;
            while stream.read(&mut buffer).await? > 0 {}
        }
        RawBehaviour::RespondTimes(bytes, count) => {
            for _ in 0..*count {
                stream.write_all(bytes).await?;
                if stream.read(&mut buffer).await? == 0 {
                    return Ok(());
                }
                counters.requests.fetch_add(1, Ordering::SeqCst);
            }
        }
        RawBehaviour::Close => {}
        RawBehaviour::Echo => {
            while read > 0 {
                stream.write_all(&buffer[..read]).await?;
                read = stream.read(&mut buffer).await?;
            }
            stream.write_all(b"bye").await?;
            stream.shutdown().await?;
        }
        RawBehaviour::Silence => while stream.read(&mut buffer).await? > 0 {},
    }
    Ok(())
}

async fn http<S>(stream: S, address: SocketAddr, counters: Arc<Counters>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (upgrades, mut upgraded) = tokio::sync::mpsc::unbounded_channel();
    let service = service_fn(move |request: Request<Incoming>| {
        counters.requests.fetch_add(1, Ordering::SeqCst);
        let upgrades = upgrades.clone();
        async move {
            Ok::<_, Infallible>(handle(request, address, &upgrades).await.unwrap_or_else(|error| {
                let mut response = Response::new(full(error.to_string()));
                *response.status_mut() = StatusCode::BAD_REQUEST;
                response
            }))
        }
    });
    let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    drop(serving.await);
    if let Some(upgrade) = upgraded.recv().await {
        let upgrade: hyper::upgrade::OnUpgrade = upgrade;
        if let Ok(stream) = upgrade.await {
            websocket::echo_all(TokioIo::new(stream)).await;
        }
    }
}

type Upgrades = tokio::sync::mpsc::UnboundedSender<hyper::upgrade::OnUpgrade>;

async fn handle(
    request: Request<Incoming>,
    address: SocketAddr,
    upgrades: &Upgrades,
) -> Result<Response<Body>> {
    let path = request.uri().path().to_owned();
    let path = path.strip_prefix("/.well-known/acme-challenge").unwrap_or(&path);
    let (word, value) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_matches('/'), ""));
    Ok(match word {
        "slow" => {
            tokio::time::sleep(Duration::from_millis(value.parse()?)).await;
            Response::new(full("late"))
        }
        "stream" => Response::new(chunks(value.parse()?)),
        "bytes" => Response::new(full(vec![b'x'; value.parse()?])),
        "numbers" => Response::new(numbers(value.parse()?)),
        "status" => Response::builder().status(value.parse::<u16>()?).body(full(""))?,
        "break" => Response::new(broken()),
        "trailers" => Response::builder().header("trailer", "x-sum").body(with_trailers())?,
        "ws" if request.headers().contains_key(UPGRADE) => {
            tokio::time::sleep(Duration::from_millis(value.parse().unwrap_or_default())).await;
            upgrade(request, upgrades)?
        }
        _ => echo(request, address).await?,
    })
}

fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never| match never {}).boxed()
}

fn frames(frames: Vec<std::io::Result<Frame<Bytes>>>) -> Body {
    BodyExt::boxed(StreamBody::new(stream::iter(frames)))
}

/// Returns the byte at an offset of the body of `/numbers/<n>`. No two neighbouring 64 KiB are the same.
#[must_use]
pub fn number_at(place: usize) -> u8 {
    // The cast keeps the last byte, as intended.
    (place ^ (place >> 8) ^ (place >> 16)) as u8
}

fn numbers(count: usize) -> Body {
    const CHUNK: usize = 64 * 1024;
    let counting = stream::unfold(0, move |from| async move {
        let until = count.min(from + CHUNK);
        let chunk: Bytes = (from..until).map(number_at).collect();
        (from < count).then(|| (Ok(Frame::data(chunk)), until))
    });
    BodyExt::boxed(StreamBody::new(counting))
}

fn chunks(count: u64) -> Body {
    let ticking = stream::unfold(0, move |n| async move {
        if n == count {
            return None;
        }
        if n > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some((Ok(Frame::data(Bytes::from(format!("chunk {n}\n")))), n + 1))
    });
    BodyExt::boxed(StreamBody::new(ticking))
}

fn broken() -> Body {
    let breaking = stream::unfold(0, |n| async move {
        match n {
            0 => Some((Ok(Frame::data(Bytes::from_static(b"half"))), 1)),
            1 => {
                // The pause lets the first half be sent.
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some((Err(std::io::Error::other("broken off")), 2))
            }
            _ => None,
        }
    });
    BodyExt::boxed(StreamBody::new(breaking))
}

fn with_trailers() -> Body {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-sum", http::HeaderValue::from_static("42"));
    frames(vec![Ok(Frame::data(Bytes::from_static(b"body"))), Ok(Frame::trailers(trailers))])
}

fn upgrade(mut request: Request<Incoming>, upgrades: &Upgrades) -> Result<Response<Body>> {
    let key = request.headers().get(SEC_WEBSOCKET_KEY).context("no Sec-WebSocket-Key")?;
    let accept = websocket::accept_key(key.as_bytes());
    upgrades.send(hyper::upgrade::on(&mut request))?;
    Ok(Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, accept)
        .body(full(""))?)
}

async fn echo(request: Request<Incoming>, address: SocketAddr) -> Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let headers: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    let seen = json!({
        "backend": address.to_string(),
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    });
    let response = Response::builder().header("content-type", "application/json");
    Ok(response.body(full(seen.to_string()))?)
}
