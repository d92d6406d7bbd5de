//! The `[rpc]` listener, with bounds on connections, memory and time.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tracing::debug;
use webgateway_process::accept::{Acceptor, Unbounded};
use webgateway_process::client_io::{ClientIo, ClientState, Protocol, discard};
use webgateway_process::listen::{self, ListenOptions};
use webgateway_process::{
    BindError, ExpiringBody, MemoryReservation, Network, NetworkMemory, Slot, Slots, Stop, StrictHttp, Tasks,
    max_clients,
};
use webgateway_proto::api::MAX_BODY;

use super::errors::{HttpError, request_body};
use super::{Api, RequestSource};
use crate::metrics::Metrics;

/// The maximum number of connections. For one more, the oldest of the network with the most is evicted.
const MAX_CONNECTIONS: usize = 512;
/// The maximum memory for the bodies of all requests that are being received, in bytes.
const REQUEST_MEMORY: usize = 32 * 1024 * 1024;
/// The maximum memory for all responses that are being sent, in bytes.
const RESPONSE_MEMORY: usize = 64 * 1024 * 1024;
/// The time within which a client has to read a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(120);
/// The maximum size of the read buffer and of the write buffer of a connection, in bytes.
const MAX_BUFFER: usize = 64 * 1024;
/// The time within which a request head has to arrive, and for which a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The time within which a request body has to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The age after which a connection is closed, once its current response is sent.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(300);
/// The time for which connections still accept requests after the stop began: a request may be in transit.
const STOP_DELAY: Duration = Duration::from_secs(1);
/// The time within which a client has to read the last response of a connection that is being closed.
const LAST_RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The bound `[rpc]` listener.
#[derive(Debug)]
pub(crate) struct RpcServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl RpcServer {
    /// Uses the socket `rpc` that systemd passes.
    pub(crate) fn inherit(listener: std::net::TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self { listener: TcpListener::from_std(listener)?, address })
    }

    /// Binds `address`, the value of `[rpc] listen`.
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source: io::Error| BindError {
            what: "the API",
            address: address.to_string(),
            key: "rpc.listen",
            source,
        };
        let listener = listen::tcp(address, ListenOptions::default()).and_then(TcpListener::from_std);
        let listener = listener.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Returns the address of the listener.
    #[must_use]
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Accepts and serves connections until the process stops.
    pub(crate) async fn serve(self, api: Api, metrics: Metrics, tasks: Tasks) -> Result<(), Infallible> {
        let stop = tasks.stop().clone();
        let acceptor = Acceptor {
            name: "rpc",
            listener: self.listener,
            admission: Unbounded,
            errors: tasks.metrics().accept_errors("rpc"),
        };
        let connections = Slots::new(MAX_CONNECTIONS.min(max_clients()), usize::MAX);
        let (requests, responses) = (NetworkMemory::new(REQUEST_MEMORY), NetworkMemory::new(RESPONSE_MEMORY));
        let accepting = acceptor.run(|stream, peer: SocketAddr, ()| {
            let (slot, _) = connections.take_or_evict(Network::of(peer.ip()));
            let (requests, responses) = (requests.clone(), responses.clone());
            let connection =
                ApiConnection { api: api.clone(), metrics: metrics.clone(), peer, requests, responses };
            tasks.spawn("rpc connection", connection.serve(stream, slot, tasks.clone()));
        });
        tokio::select! {
            () = accepting => {}
            () = stop.begun() => {}
        }
        Ok(())
    }
}

/// A connection to the API and the shared limits that it uses.
struct ApiConnection {
    api: Api,
    metrics: Metrics,
    peer: SocketAddr,
    requests: NetworkMemory,
    responses: NetworkMemory,
}

impl ApiConnection {
    async fn serve(self, stream: TcpStream, mut slot: Slot<Network>, tasks: Tasks) {
        let _open = self.metrics.connection();
        let Ok(local) = stream.local_addr() else { return };
        // Responses are small and written at once, so there is nothing to coalesce.
        let _ = stream.set_nodelay(true);
        let peer = self.peer;
        let service = ConnectionService {
            api: self.api,
            local,
            peer,
            state: Arc::default(),
            tasks: tasks.clone(),
            requests: self.requests,
            responses: self.responses,
        };
        let io = ClientIo::new(stream, Protocol::Http1, Arc::clone(&service.state));
        let io = TokioIo::new(StrictHttp::new(io, Arc::clone(&service.state)));
        let service = service_fn(move |request| {
            let service = service.clone();
            async move {
                let mut response = service.respond(request).await.map(|bytes| service.response_body(bytes));
                if service.tasks.stop().is_stopping() {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).half_close(true);
        builder.max_buf_size(MAX_BUFFER);
        let mut connection = std::pin::pin!(builder.serve_connection(io, service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = slot.evicted() => return self.metrics.refused("evicted"),
            () = must_close(tasks.stop()) => {
                connection.as_mut().graceful_shutdown();
                match timeout(LAST_RESPONSE_TIMEOUT, connection).await {
                    Ok(ended) => ended,
                    Err(_) => return self.metrics.refused("slow_reader"),
                }
            }
        };
        if let Err(error) = ended {
            self.metrics.refused(refusal_reason(&error));
            debug!(%error, %peer, "api connection failed");
        }
    }
}

/// Resolves when a connection has to be closed: it is too old, or the process stops.
async fn must_close(stop: &Stop) {
    let stopping = async {
        stop.begun().await;
        sleep(STOP_DELAY).await;
    };
    tokio::select! {
        () = stopping => {}
        () = sleep(MAX_CONNECTION_AGE) => {}
    }
}

/// The HTTP service of one connection.
#[derive(Clone)]
struct ConnectionService {
    api: Api,
    local: SocketAddr,
    peer: SocketAddr,
    state: Arc<ClientState>,
    tasks: Tasks,
    requests: NetworkMemory,
    responses: NetworkMemory,
}

impl ConnectionService {
    async fn respond(&self, request: Request<Incoming>) -> Response<Bytes> {
        self.state.set_in_flight(true);
        let (head, body) = request.into_parts();
        let response = match self.read_body(&head.headers, body).await {
            Ok((body, _memory)) => {
                let (request, source) =
                    (Request::from_parts(head, body), RequestSource::Rpc { local: self.local });
                self.state.set_unread(false);
                self.state.set_waiting(true);
                let response = self.api.handle(request, source, self.peer.ip().to_canonical());
                tokio::select! {
                    response = response => response,
                    () = self.state.gone() => self.api.refuse(request_body::half_closed()),
                }
            }
            Err(error) => self.api.refuse(error),
        };
        self.state.set_waiting(false);
        self.state.set_in_flight(false);
        response
    }

    /// Returns the body of a response, which the client has to read within [`RESPONSE_TIMEOUT`].
    fn response_body(&self, bytes: Bytes) -> ExpiringBody {
        let (body, guard) = ExpiringBody::new(bytes, self.responses.of(self.peer.ip()), RESPONSE_TIMEOUT);
        self.tasks.spawn("rpc response", guard);
        body
    }

    /// Reads a whole body and returns it with the memory that it occupies. On an error, the rest of the body is
    /// discarded, so that the client can read the response.
    async fn read_body(
        &self,
        headers: &HeaderMap,
        mut body: Incoming,
    ) -> Result<(Bytes, MemoryReservation), HttpError> {
        // A body that is declared too large is refused before it arrives.
        if body.size_hint().lower() > MAX_BODY as u64 {
            // A client that sent `Expect: 100-continue` does not send the body.
            if !headers.contains_key(header::EXPECT) {
                self.discard(body);
            }
            return Err(request_body::too_large(MAX_BODY));
        }
        let read = match timeout(BODY_TIMEOUT, self.collect(&mut body)).await {
            Ok(read) => read,
            Err(_) => Err(request_body::too_slow()),
        };
        if read.is_err() {
            self.discard(body);
        }
        read
    }

    async fn collect(&self, body: &mut Incoming) -> Result<(Bytes, MemoryReservation), HttpError> {
        let (mut collected, mut memory) = (BytesMut::new(), self.requests.of(self.peer.ip()));
        loop {
            let frame = tokio::select! {
                biased;
                () = memory.evicted() => return Err(request_body::busy()),
                frame = body.frame() => frame,
            };
            let Some(frame) = frame else { return Ok((collected.freeze(), memory)) };
            let Ok(data) = frame.map_err(|_| request_body::too_slow())?.into_data() else { continue };
            if collected.len() + data.len() > MAX_BODY {
                return Err(request_body::too_large(MAX_BODY));
            }
            memory.grow(collected.len() + data.len());
            collected.extend_from_slice(&data);
        }
    }

    fn discard(&self, body: Incoming) {
        self.tasks.spawn("rpc discard", discard(body, Arc::clone(&self.state)));
    }
}

fn refusal_reason(error: &hyper::Error) -> &'static str {
    match error {
        e if e.is_timeout() => "slow_head",
        e if e.is_parse() => "garbage",
        // The response body failed: the client did not read it in time.
        e if e.is_user() => "slow_reader",
        _ => "connection",
    }
}
