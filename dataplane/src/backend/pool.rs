//! The connection pool of one worker: its connections to backends.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::{HeaderMap, HeaderName};
use http_body::Body;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use tracing::trace;
use webgateway_process::{LocalTasks, ResponseHeads, StrictResponses};
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::options::BackendProtocol;

use super::http2_pool::Http2Pool;
use super::pool_key::PoolKey;
use super::stream::{BackendStream, READ_BUFFER, StreamControl};
use super::transport::Transport;
use crate::clock::TICK;
use crate::config::{Limits, POOL_PER_BACKEND};
use crate::trailers::{TrailerIo, TrailerSlot};

/// The field in which a backend announces how long it keeps an idle connection.
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// A pool of connections. `B` is the type of request bodies.
#[derive(Debug)]
pub(crate) struct Pool<B> {
    idle: IdleConnections<B>,
    /// The idle connections of HTTP/1.1 over TLS. Their transports differ.
    idle_tls: IdleConnections<B>,
    http2: Http2Pool<B>,
    idle_timeout: Cell<Duration>,
}

/// Idle connections by key, newest last.
type IdleConnections<B> = RefCell<HashMap<PoolKey, Vec<IdleConnection<B>>>>;

#[derive(Debug)]
struct IdleConnection<B> {
    connection: BackendConnection<B>,
    until: Instant,
}

/// A connection to a backend that speaks HTTP/1.1.
#[derive(Debug)]
pub(crate) struct BackendConnection<B> {
    /// The sender of its requests.
    pub sender: SendRequest<B>,
    /// The checker of its response heads.
    pub heads: ResponseHeads,
    /// The trailers of the request that is sent.
    pub trailers: TrailerSlot,
    /// The time that connecting took: an upper bound of the round-trip time.
    round_trip: Duration,
    /// The state of the connection that its current request controls.
    pub control: Arc<StreamControl>,
    /// The transport; `None` for plain HTTP/1.1.
    transport: Option<Rc<Transport>>,
}

impl<B> Pool<B>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Creates a pool that keeps an idle connection for at most `idle_timeout`.
    #[must_use]
    pub(crate) fn new(idle_timeout: Duration) -> Self {
        Self {
            idle: RefCell::default(),
            idle_tls: RefCell::default(),
            http2: Http2Pool::default(),
            idle_timeout: Cell::new(idle_timeout),
        }
    }

    /// Changes the idle timeout of connections that are put into the pool from now on.
    pub(crate) fn set_idle_timeout(&self, idle_timeout: Duration) {
        self.idle_timeout.set(idle_timeout);
    }

    /// Returns the HTTP/2 connections.
    pub(crate) fn http2(&self) -> &Http2Pool<B> {
        &self.http2
    }

    /// Takes the newest idle HTTP/1.1 connection of `key` that can carry a request of `route`.
    pub(crate) async fn take(
        &self,
        key: &PoolKey,
        route: &FeedRoute,
        now: Instant,
    ) -> Option<BackendConnection<B>> {
        let is_plain = route.destination.options.backend_protocol == BackendProtocol::Http1;
        loop {
            let newest = if is_plain {
                self.idle.borrow_mut().get_mut(key).and_then(Vec::pop)?
            } else {
                self.take_tls(key, route)?
            };
            let IdleConnection { mut connection, until } = newest;
            if now > until || connection.sender.is_closed() {
                continue;
            }
            // A connection that was put back a moment ago may not have processed the end of its last response yet.
            if connection.sender.is_ready() || connection.sender.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    /// Takes the newest idle connection with the transport of `route`.
    fn take_tls(&self, key: &PoolKey, route: &FeedRoute) -> Option<IdleConnection<B>> {
        let mut idle = self.idle_tls.borrow_mut();
        let of_backend = idle.get_mut(key)?;
        let fits = |idle: &IdleConnection<B>| Transport::fits(idle.connection.transport.as_deref(), route);
        let newest = of_backend.iter().rposition(fits)?;
        Some(of_backend.remove(newest))
    }

    /// Returns a connection whose last response was read to its end. `keep_alive` is the time that the backend
    /// announced to keep it.
    pub(crate) fn put(
        &self,
        key: PoolKey,
        connection: BackendConnection<B>,
        now: Instant,
        keep_alive: Option<Duration>,
    ) {
        let timeout = idle_timeout(self.idle_timeout.get(), keep_alive, connection.round_trip);
        let Some(until) = timeout.filter(|_| !connection.sender.is_closed()).map(|timeout| now + timeout)
        else {
            return;
        };
        let idle = if connection.transport.is_none() { &self.idle } else { &self.idle_tls };
        let mut idle = idle.borrow_mut();
        let of_backend = idle.entry(key).or_default();
        if of_backend.len() < POOL_PER_BACKEND {
            of_backend.push(IdleConnection { connection, until });
        }
    }

    /// Closes the connections whose idle timeout has passed.
    pub(crate) fn sweep(&self, now: Instant) {
        for idle in [&self.idle, &self.idle_tls] {
            idle.borrow_mut().retain(|_, of_backend| {
                of_backend.retain(|idle| !idle.connection.sender.is_closed() && now <= idle.until);
                !of_backend.is_empty()
            });
        }
        self.http2.sweep(now, self.idle_timeout.get());
    }
}

/// Returns the time that a backend announces to keep an idle connection (RFC 2068 §19.7.1, `Keep-Alive: timeout=5,
/// max=100`): the shortest, if there are several. It is zero if the backend accepts no more requests (`max=0`).
#[must_use]
pub(crate) fn keep_alive_timeout(headers: &HeaderMap) -> Option<Duration> {
    let fields = headers.get_all(KEEP_ALIVE).into_iter().filter_map(|field| field.to_str().ok());
    let params = fields.flat_map(|field| field.split([',', ';'])).filter_map(|param| {
        let (name, value) = param.split_once('=')?;
        let value: u32 = value.trim().trim_matches('"').parse().ok()?;
        match name.trim() {
            name if name.eq_ignore_ascii_case("timeout") => Some(Duration::from_secs(value.into())),
            name if name.eq_ignore_ascii_case("max") && value == 0 => Some(Duration::ZERO),
            _ => None,
        }
    });
    params.min()
}

/// Returns the time to keep an idle connection: `max`, or less if the backend closes it earlier; `None` if it is not
/// worth keeping.
///
/// A request must reach the backend before the announced time is over there. The time counts from the end of the
/// response at the backend, so one round trip is lost in total. The margin is two, as a round trip may take longer than
/// the measured one, and a [`TICK`], by which the clock may be behind.
fn idle_timeout(max: Duration, keep_alive: Option<Duration>, round_trip: Duration) -> Option<Duration> {
    let Some(keep_alive) = keep_alive else { return Some(max) };
    keep_alive
        .checked_sub(2 * round_trip + TICK)
        .filter(|timeout| !timeout.is_zero())
        .map(|timeout| timeout.min(max))
}

/// Begins HTTP/1.1 on a new connection. A task on this worker drives it until either side closes it. The limits of
/// request heads apply to response heads too.
pub(crate) async fn handshake<B>(
    tasks: &LocalTasks,
    backend: SocketAddr,
    stream: BackendStream,
    limits: &Limits,
) -> hyper::Result<BackendConnection<B>>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (round_trip, control) = (stream.round_trip(), Arc::clone(stream.control()));
    NewConnection { io: stream, round_trip, control, transport: None }.begin(tasks, backend, limits).await
}

/// Begins HTTP/1.1 on a new TLS connection, like [`handshake`].
pub(crate) async fn handshake_tls<B>(
    tasks: &LocalTasks,
    backend: SocketAddr,
    stream: TlsStream<BackendStream>,
    transport: Transport,
    limits: &Limits,
) -> hyper::Result<BackendConnection<B>>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let below = stream.get_ref().0;
    let (round_trip, control) = (below.round_trip(), Arc::clone(below.control()));
    let transport = Some(Rc::new(transport));
    NewConnection { io: stream, round_trip, control, transport }.begin(tasks, backend, limits).await
}

/// A new connection, with TLS or without.
struct NewConnection<I> {
    io: I,
    round_trip: Duration,
    control: Arc<StreamControl>,
    transport: Option<Rc<Transport>>,
}

impl<I: AsyncRead + AsyncWrite + Unpin + Send + 'static> NewConnection<I> {
    async fn begin<B>(
        self,
        tasks: &LocalTasks,
        backend: SocketAddr,
        limits: &Limits,
    ) -> hyper::Result<BackendConnection<B>>
    where
        B: Body + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Self { io, round_trip, control, transport } = self;
        let (heads, trailers) = (ResponseHeads::default(), TrailerSlot::default());
        let io = TrailerIo::new(StrictResponses::new(io, heads.clone()), trailers.clone());
        let (sender, connection) = http1_builder(limits).handshake(TokioIo::new(io)).await?;
        // A combinator, as an async block would contain the connection twice.
        tasks.spawn(
            "backend connection",
            connection.with_upgrades().map(move |ended| {
                if let Err(error) = ended {
                    trace!(%backend, %error, "backend connection ended");
                }
            }),
        );
        Ok(BackendConnection { sender, heads, trailers, round_trip, control, transport })
    }
}

/// Returns the HTTP/1.1 client configuration with the limits of this node.
pub(crate) fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_buf_size(limits.head_size().max(READ_BUFFER))
        .max_header_size(limits.head_size())
        .max_headers(limits.head_fields());
    builder
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn keep_alive_is_parsed_in_any_spelling() {
        for (fields, seconds) in [
            (&[][..], None),
            (&["timeout=5"], Some(5)),
            (&["timeout=5, max=100"], Some(5)),
            (&["max=100,timeout=5"], Some(5)),
            (&["Timeout = \"5\""], Some(5)),
            (&["timeout=5; max=1"], Some(5)),
            (&["max=1", "timeout=9", "timeout=5"], Some(5)),
            (&["timeout=0"], Some(0)),
            (&["timeout=60, max=0"], Some(0)),
            (&["max=3"], None),
            (&["timeout=", "timeout", "timeout=-1", "timeout=1.5", "timeout=soon", "\u{e9}"], None),
            (&["timeout=99999999999"], None),
        ] {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(KEEP_ALIVE, HeaderValue::from_bytes(field.as_bytes()).unwrap());
            }
            assert_eq!(keep_alive_timeout(&headers), seconds.map(Duration::from_secs), "{fields:?}");
        }
    }

    #[test]
    fn an_idle_connection_is_closed_before_the_backend_closes_it() {
        let ms = Duration::from_millis;
        for (keep_alive, round_trip, expected) in [
            (None, 150, Some(4000)),
            (Some(60_000), 150, Some(4000)),
            (Some(5000), 0, Some(4000)),
            (Some(2000), 0, Some(1900)),
            (Some(2000), 150, Some(1600)),
            (Some(1000), 150, Some(600)),
            (Some(1000), 450, None),
            (Some(1000), 3000, None),
            (Some(0), 0, None),
        ] {
            let timeout = idle_timeout(ms(4000), keep_alive.map(ms), ms(round_trip));
            assert_eq!(timeout, expected.map(ms), "{keep_alive:?} announced, {round_trip} ms away");
        }
        assert_eq!(idle_timeout(Duration::ZERO, Some(ms(2000)), ms(1)), Some(Duration::ZERO), "switched off");
    }
}
