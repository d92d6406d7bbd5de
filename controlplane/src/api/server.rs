//! The `[rpc]` listener: bounded connections, bounded bodies, nobody waits for ever.

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

use super::fault::{HttpError, unread};
use super::{Api, Origin};
use crate::metrics::Metrics;

/// How many connections are open at once. For one more, the network with most of them loses its oldest.
const MAX_CONNECTIONS: usize = 512;
/// The maximum size of the bodies of all requests that are being received, in bytes.
const RECEIVED: usize = 32 * 1024 * 1024;
/// The maximum size of all answers that are being read, in bytes.
const ANSWERS: usize = 64 * 1024 * 1024;
/// The time to read an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(120);
/// The bytes that are buffered of a connection each way.
const BUFFER: usize = 64 * 1024;
/// For a request's head, and for an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// After that a connection gets its current answer and ends.
const CONNECTION_LIFE: Duration = Duration::from_secs(300);
/// When the process stops, a request that is on its way comes within this, and is answered.
const LINGER: Duration = Duration::from_secs(1);
/// For a client to take its last answer.
const LAST_ANSWER: Duration = Duration::from_secs(10);

/// The bound listener.
#[derive(Debug)]
pub(crate) struct RpcServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl RpcServer {
    /// Listens on the socket `rpc` that systemd passes.
    pub(crate) fn inherit(listener: std::net::TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self { listener: TcpListener::from_std(listener)?, address })
    }

    /// Binds `[rpc] listen`.
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

    /// Where it listens.
    #[must_use]
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the process stops.
    pub(crate) async fn serve(self, api: Api, metrics: Metrics, tasks: Tasks) -> Result<(), Infallible> {
        let stop = tasks.stop().clone();
        let acceptor = Acceptor {
            name: "rpc",
            listener: self.listener,
            admission: Unbounded,
            errors: tasks.metrics().accept_errors("rpc"),
        };
        let connections = Slots::new(MAX_CONNECTIONS.min(max_clients()), usize::MAX);
        let (received, answers) = (NetworkMemory::new(RECEIVED), NetworkMemory::new(ANSWERS));
        let accepting = acceptor.run(|stream, peer: SocketAddr, ()| {
            let (slot, _) = connections.take_or_evict(Network::of(peer.ip()));
            let (received, answers) = (received.clone(), answers.clone());
            let connection =
                Connection { api: api.clone(), metrics: metrics.clone(), peer, received, answers };
            tasks.spawn("rpc connection", connection.serve(stream, slot, tasks.clone()));
        });
        tokio::select! {
            () = accepting => {}
            () = stop.begun() => {}
        }
        Ok(())
    }
}

/// One client's connection.
struct Connection {
    api: Api,
    metrics: Metrics,
    peer: SocketAddr,
    received: NetworkMemory,
    answers: NetworkMemory,
}

impl Connection {
    async fn serve(self, stream: TcpStream, mut slot: Slot<Network>, tasks: Tasks) {
        let _open = self.metrics.connection();
        let Ok(local) = stream.local_addr() else { return };
        // Answers are small and whole.
        let _ = stream.set_nodelay(true);
        let peer = self.peer;
        let client = Client {
            api: self.api,
            local,
            peer,
            state: Arc::default(),
            tasks: tasks.clone(),
            received: self.received,
            answers: self.answers,
        };
        let io = ClientIo::new(stream, Protocol::Http1, Arc::clone(&client.state));
        let io = TokioIo::new(StrictHttp::new(io, Arc::clone(&client.state)));
        let service = service_fn(move |request| {
            let client = client.clone();
            async move {
                let mut response = client.answer(request).await.map(|bytes| client.body(bytes));
                if client.tasks.stop().is_stopping() {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).half_close(true);
        builder.max_buf_size(BUFFER);
        let mut connection = std::pin::pin!(builder.serve_connection(io, service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = slot.evicted() => return self.metrics.refused("evicted"),
            () = is_over(tasks.stop()) => {
                connection.as_mut().graceful_shutdown();
                match timeout(LAST_ANSWER, connection).await {
                    Ok(ended) => ended,
                    Err(_) => return self.metrics.refused("slow_reader"),
                }
            }
        };
        if let Err(error) = ended {
            self.metrics.refused(cause(&error));
            debug!(%error, %peer, "a connection to the API ended");
        }
    }
}

/// Resolves when a connection shall take no more requests.
async fn is_over(stop: &Stop) {
    let stopping = async {
        stop.begun().await;
        sleep(LINGER).await;
    };
    tokio::select! {
        () = stopping => {}
        () = sleep(CONNECTION_LIFE) => {}
    }
}

/// The client of a connection, as its requests see it.
#[derive(Clone)]
struct Client {
    api: Api,
    local: SocketAddr,
    peer: SocketAddr,
    state: Arc<ClientState>,
    tasks: Tasks,
    received: NetworkMemory,
    answers: NetworkMemory,
}

impl Client {
    async fn answer(&self, request: Request<Incoming>) -> Response<Bytes> {
        self.state.set_in_flight(true);
        let (head, body) = request.into_parts();
        let response = match self.read(&head.headers, body).await {
            Ok((body, _held)) => {
                let (request, origin) = (Request::from_parts(head, body), Origin::Rpc { local: self.local });
                self.state.set_unread(false);
                self.state.set_waiting(true);
                let answer = self.api.handle(request, origin, self.peer.ip().to_canonical());
                tokio::select! {
                    answer = answer => answer,
                    () = self.state.gone() => self.api.refuse(unread::gone()),
                }
            }
            Err(refused) => self.api.refuse(refused),
        };
        self.state.set_waiting(false);
        self.state.set_in_flight(false);
        response
    }

    /// Returns the body of an answer, which the client has a bounded time to read.
    fn body(&self, bytes: Bytes) -> ExpiringBody {
        let (body, guard) = ExpiringBody::new(bytes, self.answers.of(self.peer.ip()), READ_TIMEOUT);
        self.tasks.spawn("rpc answer", guard);
        body
    }

    /// Reads a whole body, and returns it with its memory. What it does not take of one is discarded, so that the client gets to read the refusal.
    async fn read(
        &self,
        headers: &HeaderMap,
        mut body: Incoming,
    ) -> Result<(Bytes, MemoryReservation), HttpError> {
        // What is announced as too large is not waited for.
        if body.size_hint().lower() > MAX_BODY as u64 {
            // A client that expects to be asked for it does not send it now.
            if !headers.contains_key(header::EXPECT) {
                self.discard(body);
            }
            return Err(unread::too_large(MAX_BODY));
        }
        let read = match timeout(BODY_TIMEOUT, self.collect(&mut body)).await {
            Ok(read) => read,
            Err(_) => Err(unread::too_slow()),
        };
        if read.is_err() {
            self.discard(body);
        }
        read
    }

    async fn collect(&self, body: &mut Incoming) -> Result<(Bytes, MemoryReservation), HttpError> {
        let (mut collected, mut held) = (BytesMut::new(), self.received.of(self.peer.ip()));
        loop {
            let frame = tokio::select! {
                biased;
                () = held.evicted() => return Err(unread::busy()),
                frame = body.frame() => frame,
            };
            let Some(frame) = frame else { return Ok((collected.freeze(), held)) };
            let Ok(data) = frame.map_err(|_| unread::too_slow())?.into_data() else { continue };
            if collected.len() + data.len() > MAX_BODY {
                return Err(unread::too_large(MAX_BODY));
            }
            held.grow(collected.len() + data.len());
            collected.extend_from_slice(&data);
        }
    }

    fn discard(&self, body: Incoming) {
        self.tasks.spawn("rpc discard", discard(body, Arc::clone(&self.state)));
    }
}

fn cause(error: &hyper::Error) -> &'static str {
    match error {
        e if e.is_timeout() => "slow_head",
        e if e.is_parse() => "garbage",
        // An answer that was not read in time.
        e if e.is_user() => "slow_reader",
        _ => "connection",
    }
}
