//! The idle connections of one worker to its backends.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt;
use http::{HeaderMap, HeaderName};
use http_body::Body;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tracing::trace;
use webgateway_process::{LocalTasks, ResponseHeads, StrictResponses};

use super::stream::BackendStream;
use crate::clock::TICK;
use crate::config::{Limits, POOL_PER_BACKEND};
use crate::trailers::{TrailerIo, TrailerSlot};

/// The field by which a backend tells how long it keeps a connection.
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// The largest read of a response, and the maximum size of its head, in bytes.
const READ_BUFFER: usize = 32 * 1024;

/// A pool of idle connections, newest last. `B` is the body of requests.
#[derive(Debug)]
pub(crate) struct Pool<B> {
    idle: RefCell<HashMap<SocketAddr, Vec<Idle<B>>>>,
    keep: Cell<Duration>,
}

#[derive(Debug)]
struct Idle<B> {
    connection: BackendConnection<B>,
    until: Instant,
}

/// A connection to a backend that speaks HTTP/1.1.
#[derive(Debug)]
pub(crate) struct BackendConnection<B> {
    /// The sender of its requests.
    pub sender: SendRequest<B>,
    /// The heads of its answers.
    pub heads: ResponseHeads,
    /// The trailers of the request that is sent.
    pub trailers: TrailerSlot,
    /// The time that a request takes to get there and its answer to get back, at most.
    round_trip: Duration,
}

impl<B> Pool<B>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Keeps an idle connection for `keep`.
    #[must_use]
    pub(crate) fn new(keep: Duration) -> Self {
        Self { idle: RefCell::default(), keep: Cell::new(keep) }
    }

    /// Keeps a connection that becomes idle from now on for `keep`.
    pub(crate) fn set_keep(&self, keep: Duration) {
        self.keep.set(keep);
    }

    /// Takes the newest idle connection that can take a request.
    pub(crate) async fn take(&self, backend: SocketAddr, now: Instant) -> Option<BackendConnection<B>> {
        loop {
            let newest = self.idle.borrow_mut().get_mut(&backend).and_then(Vec::pop)?;
            let Idle { mut connection, until } = newest;
            if now > until || connection.sender.is_closed() {
                continue;
            }
            // Only just put back, it may still be about to take note of the end of its last answer.
            if connection.sender.is_ready() || connection.sender.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose last answer was read to its end. `announced` is the time that the backend keeps it.
    pub(crate) fn put(
        &self,
        backend: SocketAddr,
        connection: BackendConnection<B>,
        now: Instant,
        announced: Option<Duration>,
    ) {
        let keep = time_to_keep(self.keep.get(), announced, connection.round_trip);
        let Some(until) = keep.filter(|_| !connection.sender.is_closed()).map(|keep| now + keep) else {
            return;
        };
        let mut idle = self.idle.borrow_mut();
        let of_backend = idle.entry(backend).or_default();
        if of_backend.len() < POOL_PER_BACKEND {
            of_backend.push(Idle { connection, until });
        }
    }

    /// Closes what was idle too long.
    pub(crate) fn sweep(&self, now: Instant) {
        self.idle.borrow_mut().retain(|_, of_backend| {
            of_backend.retain(|idle| !idle.connection.sender.is_closed() && now <= idle.until);
            !of_backend.is_empty()
        });
    }
}

/// Returns the time that a backend announces to keep the connection while it is idle (RFC 2068 §19.7.1, `Keep-Alive:
/// timeout=5, max=100`): the shortest, if there are several. A connection that takes no more requests is not kept.
#[must_use]
pub(crate) fn announced(headers: &HeaderMap) -> Option<Duration> {
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

/// Returns the time to keep an idle connection, if it is worth it: `most`, but less than the backend announces that it
/// does. A request that is sent by then arrives while the backend still waits for it: the end of the last answer took a
/// part of a round trip to get here, the request takes another, both may take longer than connecting did, and the clock
/// is a [`TICK`] behind.
fn time_to_keep(most: Duration, announced: Option<Duration>, round_trip: Duration) -> Option<Duration> {
    let Some(announced) = announced else { return Some(most) };
    announced.checked_sub(2 * round_trip + TICK).filter(|keep| !keep.is_zero()).map(|keep| keep.min(most))
}

/// Begins HTTP/1.1 on a new connection; its driver runs on this worker until either side ends it. The heads of answers
/// are bounded as those of requests are.
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
    let (round_trip, heads, trailers) =
        (stream.round_trip(), ResponseHeads::default(), TrailerSlot::default());
    let io = TrailerIo::new(StrictResponses::new(stream, heads.clone()), trailers.clone());
    let (sender, connection) = http1_builder(limits).handshake(TokioIo::new(io)).await?;
    // A combinator and not an async block, which would have room for the connection twice.
    tasks.spawn(
        "backend connection",
        connection.with_upgrades().map(move |ended| {
            if let Err(error) = ended {
                trace!(%backend, %error, "a backend connection ended");
            }
        }),
    );
    Ok(BackendConnection { sender, heads, trailers, round_trip })
}

/// Returns HTTP/1.1 with our limits.
pub(crate) fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(READ_BUFFER).max_header_size(limits.head_size()).max_headers(limits.head_fields());
    builder
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_a_backend_announces_is_read_in_any_spelling() {
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
            assert_eq!(announced(&headers), seconds.map(Duration::from_secs), "{fields:?}");
        }
    }

    #[test]
    fn a_connection_is_given_up_before_the_backend_gives_it_up() {
        let ms = Duration::from_millis;
        for (announced, round_trip, expected) in [
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
            let keep = time_to_keep(ms(4000), announced.map(ms), ms(round_trip));
            assert_eq!(keep, expected.map(ms), "{announced:?} announced, {round_trip} ms away");
        }
        assert_eq!(time_to_keep(Duration::ZERO, Some(ms(2000)), ms(1)), Some(Duration::ZERO), "switched off");
    }
}
