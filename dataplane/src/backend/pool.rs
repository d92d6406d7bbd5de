//! The idle connections of one worker to its backends.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt;
use http_body::Body;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tracing::trace;
use webgateway_process::LocalTasks;

use super::stream::BackendStream;
use crate::config::{Limits, POOL_PER_BACKEND};

/// A pool of idle connections, newest last. `B` is the body of requests.
#[derive(Debug)]
pub(crate) struct Pool<B> {
    idle: RefCell<HashMap<SocketAddr, Vec<Idle<B>>>>,
    keep: Duration,
}

#[derive(Debug)]
struct Idle<B> {
    sender: SendRequest<B>,
    since: Instant,
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
        Self { idle: RefCell::default(), keep }
    }

    /// Takes the newest idle connection that can take a request.
    pub(crate) async fn take(&self, backend: SocketAddr, now: Instant) -> Option<SendRequest<B>> {
        loop {
            let newest = self.idle.borrow_mut().get_mut(&backend).and_then(Vec::pop)?;
            let mut sender = newest.sender;
            if now.saturating_duration_since(newest.since) > self.keep || sender.is_closed() {
                continue;
            }
            // Only just put back, it may still be about to take note of the end of its last answer.
            if sender.is_ready() || sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    /// Keeps a connection whose last answer was read to its end.
    pub(crate) fn put(&self, backend: SocketAddr, sender: SendRequest<B>, now: Instant) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let of_backend = idle.entry(backend).or_default();
        if of_backend.len() < POOL_PER_BACKEND {
            of_backend.push(Idle { sender, since: now });
        }
    }

    /// Closes what was idle too long.
    pub(crate) fn sweep(&self, now: Instant) {
        self.idle.borrow_mut().retain(|_, of_backend| {
            of_backend.retain(|idle| {
                !idle.sender.is_closed() && now.saturating_duration_since(idle.since) <= self.keep
            });
            !of_backend.is_empty()
        });
    }
}

/// Begins HTTP/1.1 on a new connection; its driver runs on this worker until either side ends it. The heads of answers
/// are bounded as those of requests are.
pub(crate) async fn handshake<B>(
    tasks: &LocalTasks,
    backend: SocketAddr,
    stream: BackendStream,
    limits: &Limits,
) -> hyper::Result<SendRequest<B>>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut builder = http1::Builder::new();
    builder.max_header_size(limits.head_size()).max_headers(limits.head_fields());
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    // A combinator and not an async block, which would have room for the connection twice.
    tasks.spawn(
        "backend connection",
        connection.with_upgrades().map(move |ended| {
            if let Err(error) = ended {
                trace!(%backend, %error, "a backend connection ended");
            }
        }),
    );
    Ok(sender)
}
