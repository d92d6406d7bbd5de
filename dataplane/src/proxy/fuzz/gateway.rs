//! A gateway in memory for fuzzing: the same parsers, rules and writers as in production, without sockets, timers and
//! tasks.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use webgateway_process::{ResponseHeads, StrictHttp, StrictResponses};

use super::super::request::outgoing_head;
use super::super::serve;
use crate::backend::pool;
use crate::config::Limits;
use crate::http::error::ProxyError;
use crate::http::framing::{Content, Direction, TrailerRules, frame_response};
use crate::http::headers::{self, Forwarded, RequestError};

/// The host of requests without one.
pub(super) const SNI: &str = "sni.example";
/// The client's address.
pub(super) const CLIENT: &str = "192.0.2.7";
/// The gateway's name in CDN-Loop.
pub(super) const CDN_ID: &str = "gw.example";

/// A forwarded request, as the request parser read it.
#[derive(Debug, Default)]
pub(super) struct ForwardedRequest {
    /// The number of parsed requests before it.
    pub(super) index: usize,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) authority: Vec<u8>,
    pub(super) request: Rc<RefCell<BodyRecord>>,
    /// The bytes sent to the backend.
    pub(super) sent: Rc<RefCell<Vec<u8>>>,
    /// The status of the response; 0 if none was accepted.
    pub(super) status: Cell<u16>,
    pub(super) response: Rc<RefCell<BodyRecord>>,
}

/// The content and the trailers of a message, as its parser read them.
#[derive(Debug, Default)]
pub(super) struct BodyRecord {
    pub(super) data: Vec<u8>,
    pub(super) trailers: HeaderMap,
    /// Is true if the body ended early.
    pub(super) is_broken: bool,
    is_over: bool,
}

/// The outcome of one run of the gateway.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The forwarded requests.
    pub(super) forwarded: Vec<ForwardedRequest>,
    /// The number of parsed requests, including refused ones.
    pub(super) parsed: usize,
    /// The bytes sent to the client.
    pub(super) output: Vec<u8>,
}

/// One end of a connection in memory: its input, and a record of its output.
#[derive(Debug, Clone, Default)]
struct Pipe {
    input: Bytes,
    /// The request that must be sent before there is input.
    request: Option<Rc<RefCell<BodyRecord>>>,
    output: Rc<RefCell<Vec<u8>>>,
    piece: usize,
}

#[derive(Default)]
struct Gateway {
    backend: Bytes,
    piece: usize,
    parsed: Cell<usize>,
    forwarded: RefCell<Vec<Rc<ForwardedRequest>>>,
    connections: RefCell<Vec<Pin<Box<dyn Future<Output = ()>>>>>,
}

/// Runs a gateway between a client that sends `client` in pieces of `piece` bytes and a backend that answers each
/// request with `backend`.
pub(super) fn exchange(client: &[u8], backend: &[u8], piece: usize) -> Outcome {
    let output = Rc::default();
    let input = Bytes::copy_from_slice(client);
    let pipe = Pipe { input, output: Rc::clone(&output), piece, request: None };
    let gateway = Rc::new(Gateway { backend: Bytes::copy_from_slice(backend), piece, ..Gateway::default() });
    let serving = Rc::clone(&gateway);
    let service = service_fn(move |request| {
        let gateway = Rc::clone(&serving);
        async move { Ok::<_, Infallible>(gateway.respond(request).await) }
    });
    let builder = serve::http1_builder(&Limits::default());
    let mut server =
        Box::pin(builder.serve_connection(TokioIo::new(StrictHttp::new(pipe, Arc::default())), service));
    let mut context = Context::from_waker(Waker::noop());
    let mut rounds = 0;
    while server.as_mut().poll(&mut context).is_pending() {
        let mut polled = std::mem::take(&mut *gateway.connections.borrow_mut());
        polled.retain_mut(|connection| connection.as_mut().poll(&mut context).is_pending());
        gateway.connections.borrow_mut().append(&mut polled);
        rounds += 1;
        assert!(rounds < 100_000, "the client waits for ever");
    }
    drop(server);
    gateway.connections.borrow_mut().clear();
    let gateway = Rc::into_inner(gateway).unwrap_or_default();
    let forwarded = gateway.forwarded.into_inner().into_iter().filter_map(Rc::into_inner).collect();
    let output = output.borrow().clone();
    Outcome { forwarded, parsed: gateway.parsed.get(), output }
}

impl Gateway {
    async fn respond(&self, request: Request<Incoming>) -> Response<RecordingBody> {
        let index = self.parsed.replace(self.parsed.get() + 1);
        self.forward(index, request).await.unwrap_or_else(|error| {
            let (head, _) = error.response().into_parts();
            Response::from_parts(head, RecordingBody::default())
        })
    }

    /// Forwards a request as [`super::super::handler`] and [`super::super::request`] do, without routes and sockets.
    async fn forward(
        &self,
        index: usize,
        mut request: Request<Incoming>,
    ) -> Result<Response<RecordingBody>, ProxyError> {
        let target = headers::validate(&request, SNI)?;
        if request.method() == Method::CONNECT {
            return Err(ProxyError::Connect);
        }
        let authority = target.authority_value()?;
        let is_head = request.method() == Method::HEAD;
        let forwarded = Rc::new(ForwardedRequest {
            index,
            method: request.method().clone(),
            path: request.uri().path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            authority: authority.as_bytes().to_vec(),
            ..ForwardedRequest::default()
        });
        let upgrade = headers::is_websocket_upgrade(&request);
        if upgrade && !request.body().is_end_stream() {
            return Err(RequestError::UpgradeBody.into());
        }
        let (client, cdn_id) = (HeaderValue::from_static(CLIENT), HeaderValue::from_static(CDN_ID));
        let fields = Forwarded {
            client: &client,
            authority: &authority,
            proto: "https",
            cdn_id: &cdn_id,
            upgrade,
            changes: &[],
        };
        let rules = TrailerRules::from_head(request.headers(), Direction::ToBackend);
        headers::to_backend(request.headers_mut(), fields);
        let (mut head, incoming) = request.into_parts();
        let content = Content::of_body(&incoming);
        outgoing_head(&mut head, content, &rules);
        let body = RecordingBody::new(incoming, rules, &forwarded.request);
        self.forwarded.borrow_mut().push(Rc::clone(&forwarded));
        let response = self.send(Request::from_parts(head, body), &forwarded).await?;
        let (mut head, incoming, rules) = self.check_response(response, is_head)?;
        forwarded.status.set(head.status.as_u16());
        headers::to_client(&mut head.headers, false);
        head.version = Version::HTTP_11;
        Ok(Response::from_parts(head, RecordingBody::new(incoming, rules, &forwarded.response)))
    }

    async fn send(
        &self,
        request: Request<RecordingBody>,
        forwarded: &ForwardedRequest,
    ) -> Result<Response<Incoming>, ProxyError> {
        let (input, output) = (self.backend.clone(), Rc::clone(&forwarded.sent));
        let request_body = Some(Rc::clone(&forwarded.request));
        let pipe = Pipe { input, output, piece: self.piece, request: request_body };
        let heads = ResponseHeads::default();
        heads.wait();
        let pipe = TokioIo::new(StrictResponses::new(pipe, heads));
        let begun = pool::http1_builder(&Limits::default()).handshake(pipe).await;
        let (mut sender, connection) = begun.map_err(|error| ProxyError::from(&error))?;
        self.connections.borrow_mut().push(Box::pin(async move { drop(connection.await) }));
        sender.try_send_request(request).await.map_err(|error| ProxyError::from(error.error()))
    }

    fn check_response(
        &self,
        mut response: Response<Incoming>,
        is_head: bool,
    ) -> Result<(http::response::Parts, Incoming, TrailerRules), ProxyError> {
        let rules = TrailerRules::from_head(response.headers(), Direction::ToClient);
        frame_response(&mut response, is_head, &rules)?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(ProxyError::UnexpectedUpgrade);
        }
        let (head, incoming) = response.into_parts();
        Ok((head, incoming, rules))
    }
}

/// A forwarded body that records its content and trailers.
#[derive(Default)]
struct RecordingBody {
    incoming: Option<(Incoming, TrailerRules)>,
    record: Rc<RefCell<BodyRecord>>,
}

impl RecordingBody {
    fn new(incoming: Incoming, rules: TrailerRules, record: &Rc<RefCell<BodyRecord>>) -> Self {
        record.borrow_mut().is_over = incoming.is_end_stream();
        Self { incoming: Some((incoming, rules)), record: Rc::clone(record) }
    }
}

impl Body for RecordingBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let Some((incoming, rules)) = &mut this.incoming else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(&mut *incoming).poll_frame(cx));
        let mut record = this.record.borrow_mut();
        match &frame {
            Some(Ok(frame)) => {
                record.data.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                record.trailers.extend(frame.trailers_ref().cloned().unwrap_or_default());
                record.is_over |= frame.is_trailers() || incoming.is_end_stream();
            }
            Some(Err(_)) => (record.is_broken, record.is_over) = (true, true),
            None => record.is_over = true,
        }
        Poll::Ready(match frame {
            Some(Ok(frame)) => rules.filter(frame).map(Ok),
            Some(Err(error)) => Some(Err(error)),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(|(incoming, _)| incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or(SizeHint::with_exact(0), |(incoming, _)| incoming.size_hint())
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let is_early =
            |request: &Rc<RefCell<BodyRecord>>| !request.borrow().is_over || self.output.borrow().is_empty();
        if self.request.as_ref().is_some_and(is_early) {
            return Poll::Pending;
        }
        let size = self.piece.max(1).min(self.input.len()).min(buf.remaining());
        buf.put_slice(&self.input.split_to(size));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.output.borrow_mut().extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
