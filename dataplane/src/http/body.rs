//! Bodies on their way through: frame by frame, never gathered.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};

use super::exchange::{CutWait, Exchange};
use super::framing::{Direction, passing};
use super::held::{Chunk, Held};
use super::incoming::RequestStream;
use crate::backend::pool::{BackendConnection, Pool};
use crate::backend::stream::ReadLimit;

/// The bytes of the API's answer that are handed over at a time: what is handed over is not counted any more.
const PIECE: usize = 16 * 1024;
/// The bytes of the last part of a response that are not worth counting.
const SMALL: usize = 4 * 1024;

/// The reason why a body did not come to its end.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    /// The side that sends it failed.
    #[error(transparent)]
    Peer(#[from] hyper::Error),
    /// The backend sent nothing for too long.
    #[error("the backend fell silent")]
    Timeout,
    /// The route was suspended, or deleted and its drain is over.
    #[error("the route is gone")]
    RouteClosed,
}

/// The body of a request to a backend.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// No body.
    Empty,
    /// The client's.
    Client(ClientBody),
}

/// A request's body as the client sends it; it ends early with the route.
#[derive(Debug)]
pub(crate) struct ClientBody {
    incoming: RequestStream,
    exchange: Rc<Exchange>,
    cut: CutWait,
}

/// The body of a response to a client.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// The gateway's own.
    Fixed(Option<Bytes>),
    /// The API's.
    Api(ApiBody),
    /// The backend's.
    Backend(Box<BackendBody>),
}

/// The API's answer, sent piece by piece, and the memory reserved for it until then.
#[derive(Debug)]
pub(crate) struct ApiBody {
    rest: Bytes,
    _reserved: OwnedSemaphorePermit,
}

/// A response's body as the backend sends it; it ends early with the route. When it was read to its end, the connection
/// goes back to the pool.
#[derive(Debug)]
pub(crate) struct BackendBody {
    incoming: Incoming,
    exchange: Rc<Exchange>,
    lease: Option<Lease>,
    reads: Arc<ReadLimit>,
    /// Is true while the client has to take what was read before.
    is_held: bool,
    held: Option<Rc<Held>>,
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    cut: CutWait,
}

/// A backend's connection while its answer is read.
#[derive(Debug)]
pub(crate) struct Lease {
    /// The pool that it goes back to.
    pub pool: Rc<Pool<RequestBody>>,
    /// The address of the backend.
    pub backend: SocketAddr,
    /// The connection.
    pub connection: BackendConnection<RequestBody>,
    /// The time that the backend announces to keep it while it is idle.
    pub announced: Option<Duration>,
    /// Lets the connection go back to the pool.
    pub is_reusable: bool,
}

impl RequestBody {
    /// Returns the body that a client sends.
    #[must_use]
    pub(crate) fn client(incoming: RequestStream, exchange: Rc<Exchange>) -> Self {
        Self::Client(ClientBody { incoming, exchange, cut: CutWait::default() })
    }
}

impl ResponseBody {
    /// Returns a body of the gateway's own.
    #[must_use]
    pub(crate) fn fixed(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        Self::Fixed((!text.is_empty()).then_some(text))
    }

    /// Returns the body of the API's answer, for which memory is `reserved` until it is sent.
    #[must_use]
    pub(crate) fn api(rest: Bytes, reserved: OwnedSemaphorePermit) -> Self {
        Self::Api(ApiBody { rest, _reserved: reserved })
    }

    /// Returns the body that a backend sends, silent for at most `limit` at a time.
    #[must_use]
    pub(crate) fn backend(incoming: Incoming, exchange: Rc<Exchange>, lease: Lease, limit: Duration) -> Self {
        exchange.wait_for_backend(false);
        let mut body = BackendBody {
            incoming,
            exchange,
            reads: Arc::clone(&lease.connection.reads),
            is_held: false,
            held: None,
            lease: Some(lease),
            limit,
            timer: None,
            cut: CutWait::default(),
        };
        body.release_at_end();
        Self::Backend(Box::new(body))
    }
}

impl BackendBody {
    /// A body may be over before it was polled to its end: empty, or of a known length.
    fn release_at_end(&mut self) {
        if self.incoming.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        // A backend that answered before it read the whole request is in no state for another one.
        if let Some(Lease { pool, backend, connection, announced, is_reusable }) = self.lease.take()
            && is_reusable
            && self.exchange.is_request_done()
        {
            pool.put(backend, connection, self.exchange.last(), announced);
        }
    }

    /// Returns whether the client has taken what was read before, or most of it; has the task woken when it has.
    fn may_read(&mut self, cx: &Context<'_>) -> bool {
        let is_full = self.held.as_ref().is_some_and(|held| held.is_full());
        if is_full || self.exchange.is_client_blocked() {
            let held = self.held.get_or_insert_with(|| Held::new(self.exchange.worker_held()));
            held.wait(cx);
            if !is_full {
                self.exchange.wait_for_client(held);
            }
            self.is_held = true;
            return false;
        }
        if std::mem::take(&mut self.is_held) {
            self.reads.set(self.exchange.worker_held().is_scarce());
            // The backend was not listened to meanwhile.
            if let Some(timer) = &mut self.timer {
                timer.as_mut().reset(Instant::now() + self.limit);
            }
        }
        true
    }

    /// Counts what the client may not take at once.
    fn hold(&mut self, bytes: Bytes) -> Chunk {
        if self.lease.is_none() && bytes.len() <= SMALL {
            return bytes.into();
        }
        self.held.get_or_insert_with(|| Held::new(self.exchange.worker_held())).hold(bytes)
    }

    fn silent_too_long(&mut self, cx: &mut Context<'_>) -> bool {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(cx).is_ready()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Chunk>, BodyError>>> {
        if self.exchange.is_cut() {
            return Poll::Ready(Some(Err(BodyError::RouteClosed)));
        }
        if !self.may_read(cx) {
            return self.cut.poll(&self.exchange, cx).map(|()| Some(Err(BodyError::RouteClosed)));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            self.exchange.wait_for_backend(true);
            return if self.silent_too_long(cx) {
                Poll::Ready(Some(Err(BodyError::Timeout)))
            } else {
                self.cut.poll(&self.exchange, cx).map(|()| Some(Err(BodyError::RouteClosed)))
            };
        };
        self.exchange.wait_for_backend(false);
        self.exchange.moved();
        if let Some(timer) = &mut self.timer {
            timer.as_mut().reset(Instant::now() + self.limit);
        }
        match &frame {
            Some(Ok(data)) if data.is_data() => self.release_at_end(),
            // Trailers are the end.
            Some(Ok(_)) | None => self.release(),
            Some(Err(_)) => self.lease = None,
        }
        let frame = through(frame, Direction::ToClient);
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|bytes| self.hold(bytes)))))
    }
}

/// Returns the part of a frame that may pass this way; without one, the body is over.
fn through(
    frame: Option<hyper::Result<Frame<Bytes>>>,
    direction: Direction,
) -> Option<Result<Frame<Bytes>, BodyError>> {
    match frame? {
        Ok(frame) => passing(frame, direction).map(Ok),
        Err(error) => Some(Err(BodyError::Peer(error))),
    }
}

impl Body for ResponseBody {
    type Data = Chunk;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, BodyError>>> {
        match self.get_mut() {
            Self::Fixed(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes.into())))),
            Self::Api(ApiBody { rest, .. }) if rest.is_empty() => Poll::Ready(None),
            Self::Api(ApiBody { rest, .. }) => {
                let piece = rest.split_to(rest.len().min(PIECE));
                Poll::Ready(Some(Ok(Frame::data(piece.into()))))
            }
            Self::Backend(body) => body.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Fixed(bytes) => bytes.is_none(),
            Self::Api(body) => body.rest.is_empty(),
            Self::Backend(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Fixed(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Api(body) => SizeHint::with_exact(body.rest.len() as u64),
            Self::Backend(body) => body.incoming.size_hint(),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self::Client(ClientBody { incoming, exchange, cut }) = self.get_mut() else {
            return Poll::Ready(None);
        };
        if exchange.is_cut() {
            return Poll::Ready(Some(Err(BodyError::RouteClosed)));
        }
        let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(cx) else {
            return cut.poll(exchange, cx).map(|()| Some(Err(BodyError::RouteClosed)));
        };
        exchange.moved();
        let is_last = |frame: &Result<Frame<Bytes>, _>| frame.as_ref().is_ok_and(Frame::is_trailers);
        if frame.as_ref().is_none_or(is_last) || incoming.is_end_stream() {
            exchange.request_done();
        }
        Poll::Ready(through(frame, Direction::ToBackend))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Client(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Client(body) => body.incoming.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;
    use http_body_util::BodyExt;

    use super::*;
    use crate::controlplane::ControlplaneClient;

    #[tokio::test]
    async fn the_apis_answer_goes_out_piece_by_piece_and_keeps_its_memory_until_then() {
        let controlplane = ControlplaneClient::default();
        let whole = controlplane.reserve(crate::config::API_BODIES).unwrap();
        let mut body = ResponseBody::api(vec![7; PIECE + 1].into(), whole);
        assert_eq!(body.size_hint().exact(), Some(PIECE as u64 + 1));
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().remaining(), PIECE);
        assert!(!body.is_end_stream() && controlplane.reserve(1).is_err());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().remaining(), 1);
        assert!(body.is_end_stream() && body.frame().await.is_none());
        drop(body);
        assert!(controlplane.reserve(1).is_ok());
    }
}
