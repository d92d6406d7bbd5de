//! Bodies of proxied messages, streamed frame by frame.

mod error;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};
use webgateway_process::ExpiringBody;

pub(crate) use self::error::BodyError;
use super::backlog::{ResponseBacklog, ResponseChunk};
use super::cut::CutWait;
use super::exchange::Exchange;
use super::framing::TrailerRules;
use super::incoming::RequestStream;
use crate::backend::lease::Lease;
use crate::backend::stream::StreamControl;
use crate::trailers::TrailerSlot;

/// The size up to which the last part of a response is not counted in the backlog, in bytes.
const UNTRACKED_TAIL: usize = 4 * 1024;

/// The body of a request to a backend.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// No body.
    Empty,
    /// The body that the client sends.
    Client(ClientBody),
}

/// A request's body as the client sends it. It fails when the route is closed.
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
    /// A text of the gateway itself.
    Fixed(Option<Bytes>),
    /// The body of an API response.
    Api(ExpiringBody),
    /// The body that a backend sends.
    Backend(Box<BackendBody>),
}

/// A response's body as the backend sends it. It fails when the route is closed. Once it was read to its end, the
/// connection returns to the pool.
#[derive(Debug)]
pub(crate) struct BackendBody {
    incoming: Incoming,
    exchange: Rc<Exchange>,
    lease: Option<Lease<RequestBody>>,
    /// The state of an HTTP/1.1 connection, which the response has for itself.
    control: Option<Arc<StreamControl>>,
    /// Is true while reading waits for the client to take what was read before.
    was_blocked: bool,
    backlog: Option<Rc<ResponseBacklog>>,
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    total: Option<Pin<Box<Sleep>>>,
    cut: CutWait,
    trailers: TrailerPath,
}

/// The forwarding of a body's trailers.
#[derive(Debug)]
pub(crate) struct TrailerPath {
    rules: TrailerRules,
    output: TrailerOutput,
    /// Is true once the trailers are in the slot: the body ends when they are due.
    is_ending: bool,
}

/// The output for the trailers of a body.
#[derive(Debug)]
pub(crate) enum TrailerOutput {
    /// A frame of the body, which HTTP/2 sends as trailers.
    Frame,
    /// The last chunk of a chunked body on an HTTP/1.1 connection.
    Chunked(TrailerSlot),
    /// No output: the recipient does not accept trailers, or the body is not chunked.
    Dropped,
}

impl RequestBody {
    /// Creates the body of a request that a client sends.
    #[must_use]
    pub(crate) fn client(incoming: RequestStream, exchange: Rc<Exchange>, rules: TrailerRules) -> Self {
        let trailers = TrailerPath::new(rules, TrailerOutput::Dropped);
        Self::Client(ClientBody { incoming, exchange, cut: CutWait::default(), trailers })
    }

    /// Sets the connection that the body is about to be sent on, chunked.
    pub(crate) fn send_trailers_by(&mut self, slot: &TrailerSlot) {
        if let Self::Client(body) = self {
            body.trailers.output = TrailerOutput::Chunked(slot.clone());
        }
    }

    /// Sends the trailers as a frame, over HTTP/2.
    pub(crate) fn send_trailer_frame(&mut self) {
        if let Self::Client(body) = self {
            body.trailers.output = TrailerOutput::Frame;
        }
    }
}

impl ResponseBody {
    /// Creates a body with a text of the gateway itself.
    #[must_use]
    pub(crate) fn fixed(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        Self::Fixed((!text.is_empty()).then_some(text))
    }

    /// Creates the body of a backend's response. `limit` is the maximum time between two frames.
    #[must_use]
    pub(crate) fn backend(
        incoming: Incoming,
        exchange: Rc<Exchange>,
        lease: Lease<RequestBody>,
        limit: Duration,
        trailers: TrailerPath,
    ) -> Self {
        exchange.set_waiting_for_backend(false);
        let mut body = BackendBody {
            incoming,
            total: exchange.bounds.total_timer(),
            exchange,
            control: lease.control().cloned(),
            was_blocked: false,
            backlog: None,
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
    /// Releases the connection if the body has ended. An empty body, or one of a known length, ends before a poll says
    /// so.
    fn release_at_end(&mut self) {
        if self.incoming.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some(control) = &self.control {
            control.set_in_flight(false);
        }
        if let Some(lease) = self.lease.take() {
            lease.release(self.exchange.last_progress(), self.exchange.is_request_read());
        }
    }

    /// Returns whether the backlog of the client is small enough to read on; if not, registers the task to be woken.
    fn may_read(&mut self, cx: &Context<'_>) -> bool {
        let is_full = self.backlog.as_ref().is_some_and(|backlog| backlog.is_full());
        if is_full || self.exchange.is_client_blocked() {
            let backlog = self.backlog.get_or_insert_with(|| ResponseBacklog::new(self.exchange.output()));
            backlog.wait(cx);
            backlog.hold(self.lease.as_ref().map_or(0, Lease::unread));
            if !is_full {
                self.exchange.wait_for_client(backlog);
            }
            self.was_blocked = true;
            return false;
        }
        if std::mem::take(&mut self.was_blocked) {
            if let Some(backlog) = &self.backlog {
                backlog.stop_waiting();
            }
            if let Some(control) = &self.control {
                control.set_small_reads(self.exchange.output().worker().is_over_limit());
            }
            // The backend could not send meanwhile, so its time limit begins anew.
            if let Some(timer) = &mut self.timer {
                timer.as_mut().reset(Instant::now() + self.limit);
            }
        }
        true
    }

    /// Counts a part of the response in the backlog, unless it is small and the last one.
    fn track(&mut self, bytes: Bytes) -> ResponseChunk {
        if self.lease.is_none() && bytes.len() <= UNTRACKED_TAIL {
            return bytes.into();
        }
        self.backlog.get_or_insert_with(|| ResponseBacklog::new(self.exchange.output())).track(bytes)
    }

    fn has_timed_out(&mut self, cx: &mut Context<'_>) -> bool {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(cx).is_ready()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<ResponseChunk>, BodyError>>> {
        if self.exchange.is_cut() {
            return Poll::Ready(Some(Err(BodyError::RouteClosed)));
        }
        if self.total.as_mut().is_some_and(|total| total.as_mut().poll(cx).is_ready()) {
            self.exchange.record.note(|record| record.fail("http_response_timeout"));
            return Poll::Ready(Some(Err(BodyError::TotalTimeout)));
        }
        if self.backlog.as_ref().is_some_and(|backlog| backlog.is_cut()) {
            return Poll::Ready(Some(Err(BodyError::Stalled)));
        }
        if let Some(end) = self.trailers.poll_end() {
            return end.map(|()| None);
        }
        if !self.may_read(cx) {
            return self.cut.poll(&self.exchange, cx).map(|()| Some(Err(BodyError::RouteClosed)));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            self.exchange.set_waiting_for_backend(true);
            return if self.has_timed_out(cx) {
                self.exchange.record.note(|record| record.fail("connection_read_timeout"));
                Poll::Ready(Some(Err(BodyError::Timeout)))
            } else {
                self.cut.poll(&self.exchange, cx).map(|()| Some(Err(BodyError::RouteClosed)))
            };
        };
        self.exchange.set_waiting_for_backend(false);
        self.exchange.record_progress();
        if let Some(timer) = &mut self.timer {
            timer.as_mut().reset(Instant::now() + self.limit);
        }
        self.exchange.record.note(|record| record.add_sent_frame(frame.as_ref()));
        match &frame {
            Some(Ok(data)) if data.is_data() => self.release_at_end(),
            // Trailers end a body.
            Some(Ok(_)) | None => self.release(),
            Some(Err(_)) => self.lease = None,
        }
        let frame = std::task::ready!(self.trailers.forward(frame));
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|bytes| self.track(bytes)))))
    }
}

impl TrailerPath {
    /// Creates the forwarding of trailers to `output`, filtered by `rules`.
    #[must_use]
    pub(crate) fn new(rules: TrailerRules, output: TrailerOutput) -> Self {
        Self { rules, output, is_ending: false }
    }

    /// Forwards a frame, its trailers filtered. Resolves to `None` when the body has ended, once its trailers are due.
    fn forward(
        &mut self,
        frame: Option<hyper::Result<Frame<Bytes>>>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match frame {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::Peer(error)))),
            Some(Ok(frame)) => self.rules.filter(frame),
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

    /// Polls the end of a body whose trailers are in the slot; `None` if the body goes on.
    fn poll_end(&self) -> Option<Poll<()>> {
        match &self.output {
            TrailerOutput::Chunked(slot) if self.is_ending => Some(slot.poll_due()),
            TrailerOutput::Chunked(_) | TrailerOutput::Frame | TrailerOutput::Dropped => None,
        }
    }
}

impl Body for ResponseBody {
    type Data = ResponseChunk;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<ResponseChunk>, BodyError>>> {
        match self.get_mut() {
            Self::Fixed(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes.into())))),
            Self::Api(body) => {
                let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
                let frame = frame.map(|frame| frame.map(|frame| frame.map_data(ResponseChunk::from)));
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)))
            }
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
        exchange.record_progress();
        if matches!(&frame, Some(Ok(frame)) if !exchange.bounds.admit(frame)) {
            return Poll::Ready(Some(Err(BodyError::TooLarge)));
        }
        exchange.record.note(|record| record.add_received_frame(frame.as_ref()));
        let is_last = |frame: &Result<Frame<Bytes>, _>| frame.as_ref().is_ok_and(Frame::is_trailers);
        if frame.as_ref().is_none_or(is_last) || incoming.is_end_stream() {
            exchange.mark_request_read();
        }
        trailers.forward(frame)
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
