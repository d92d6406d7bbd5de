//! Bodies on their way through: frame by frame, never gathered.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep};
use webgateway_process::{BodyExpiredError, ExpiringBody};

use super::exchange::{CutWait, Exchange};
use super::framing::TrailerRules;
use super::incoming::RequestStream;
use crate::backend::pool::{BackendConnection, Pool};
use crate::trailers::TrailerSlot;

/// The reason why a body did not come to its end.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    /// The side that sends it failed.
    #[error(transparent)]
    Peer(#[from] hyper::Error),
    /// The client did not read the API's answer in time.
    #[error(transparent)]
    Lost(#[from] BodyExpiredError),
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
    trailers: TrailerPath,
}

/// The body of a response to a client.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// The gateway's own.
    Fixed(Option<Bytes>),
    /// The API's.
    Api(ExpiringBody),
    /// The backend's.
    Backend(Box<BackendBody>),
}

/// A response's body as the backend sends it; it ends early with the route. When it was read to its end, the connection
/// goes back to the pool.
#[derive(Debug)]
pub(crate) struct BackendBody {
    incoming: Incoming,
    exchange: Rc<Exchange>,
    lease: Option<Lease>,
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    cut: CutWait,
    trailers: TrailerPath,
}

/// The way that the trailers of a body take.
#[derive(Debug)]
pub(crate) struct TrailerPath {
    rules: TrailerRules,
    output: TrailerOutput,
    /// They are handed over, and the body ends once they are due.
    is_ending: bool,
}

/// The output for the trailers of a body.
#[derive(Debug)]
pub(crate) enum TrailerOutput {
    /// A frame of the body, as HTTP/2 sends them.
    Frame,
    /// The end of the chunks on an HTTP/1.1 connection.
    Chunked(TrailerSlot),
    /// None: the recipient does not take them, or its content is not chunked.
    Dropped,
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
    pub(crate) fn client(incoming: RequestStream, exchange: Rc<Exchange>, rules: TrailerRules) -> Self {
        let trailers = TrailerPath::new(rules, TrailerOutput::Dropped);
        Self::Client(ClientBody { incoming, exchange, cut: CutWait::default(), trailers })
    }

    /// Takes note of the connection that it is about to be sent by, in chunks.
    pub(crate) fn send_trailers_by(&mut self, slot: &TrailerSlot) {
        if let Self::Client(body) = self {
            body.trailers.output = TrailerOutput::Chunked(slot.clone());
        }
    }
}

impl ResponseBody {
    /// Returns a body of the gateway's own.
    #[must_use]
    pub(crate) fn fixed(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        Self::Fixed((!text.is_empty()).then_some(text))
    }

    /// Returns the body that a backend sends, silent for at most `limit` at a time.
    #[must_use]
    pub(crate) fn backend(
        incoming: Incoming,
        exchange: Rc<Exchange>,
        lease: Lease,
        limit: Duration,
        trailers: TrailerPath,
    ) -> Self {
        exchange.wait_for_backend(false);
        let mut body = BackendBody {
            incoming,
            exchange,
            lease: Some(lease),
            limit,
            timer: None,
            cut: CutWait::default(),
            trailers,
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

    fn silent_too_long(&mut self, cx: &mut Context<'_>) -> bool {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(cx).is_ready()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.exchange.is_cut() {
            return Poll::Ready(Some(Err(BodyError::RouteClosed)));
        }
        if let Some(end) = self.trailers.poll_end() {
            return end.map(|()| None);
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
        self.trailers.pass(frame)
    }
}

impl TrailerPath {
    /// Returns the way to `output` of what passes by `rules`.
    #[must_use]
    pub(crate) fn new(rules: TrailerRules, output: TrailerOutput) -> Self {
        Self { rules, output, is_ending: false }
    }

    /// Returns the part of a frame that may pass; without one, the body is over, once its trailers are due.
    fn pass(
        &mut self,
        frame: Option<hyper::Result<Frame<Bytes>>>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match frame {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::Peer(error)))),
            Some(Ok(frame)) => self.rules.passing(frame),
        };
        match (frame.as_ref().and_then(Frame::trailers_ref), &self.output) {
            (None, _) | (_, TrailerOutput::Frame) => Poll::Ready(frame.map(Ok)),
            (Some(_), TrailerOutput::Dropped) => Poll::Ready(None),
            (Some(trailers), TrailerOutput::Chunked(slot)) => {
                slot.put(trailers);
                self.is_ending = true;
                slot.poll_due().map(|()| None)
            }
        }
    }

    /// Resolves when the trailers are due and the body ends; `None` if it goes on.
    fn poll_end(&self) -> Option<Poll<()>> {
        match &self.output {
            TrailerOutput::Chunked(slot) if self.is_ending => Some(slot.poll_due()),
            TrailerOutput::Chunked(_) | TrailerOutput::Frame | TrailerOutput::Dropped => None,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Fixed(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Api(body) => Pin::new(body).poll_frame(cx).map_err(BodyError::from),
            Self::Backend(body) => body.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Fixed(bytes) => bytes.is_none(),
            Self::Api(body) => body.is_end_stream(),
            Self::Backend(body) => !body.trailers.is_ending && body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Fixed(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Api(body) => body.size_hint(),
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
        let Self::Client(ClientBody { incoming, exchange, cut, trailers }) = self.get_mut() else {
            return Poll::Ready(None);
        };
        if exchange.is_cut() {
            return Poll::Ready(Some(Err(BodyError::RouteClosed)));
        }
        if let Some(end) = trailers.poll_end() {
            return end.map(|()| None);
        }
        let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(cx) else {
            return cut.poll(exchange, cx).map(|()| Some(Err(BodyError::RouteClosed)));
        };
        exchange.moved();
        let is_last = |frame: &Result<Frame<Bytes>, _>| frame.as_ref().is_ok_and(Frame::is_trailers);
        if frame.as_ref().is_none_or(is_last) || incoming.is_end_stream() {
            exchange.request_done();
        }
        trailers.pass(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Client(body) => !body.trailers.is_ending && body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Client(body) => body.incoming.size_hint(),
        }
    }
}
