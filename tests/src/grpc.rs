//! A gRPC service and its client, with messages of plain bytes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::{Buf as _, BufMut as _, Bytes};
use futures_util::{Stream, StreamExt as _, stream};
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::client::Grpc as GrpcClient;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::Grpc as GrpcServer;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};
use tower::service_fn;

use crate::client::Client;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A codec of plain bytes.
#[derive(Debug, Clone, Copy, Default)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, output: &mut EncodeBuf<'_>) -> Result<(), Status> {
        output.put(message);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, input: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(input.copy_to_bytes(input.remaining())))
    }
}

/// A service for tests. Its methods:
///
/// - `Unary`: echoes the message; `fail` fails without a message (Trailers-Only), `deadline` returns `grpc-timeout`
/// - `Sum`: returns the number of messages and of their bytes
/// - `Count`: a message for each number below the one in the request
/// - `Chat`: echoes each message when it arrives
/// - `Hang`: never responds, until it is cancelled
#[derive(Debug, Clone, Default)]
pub struct GrpcService {
    hanging: Arc<AtomicU64>,
}

impl GrpcService {
    /// Returns the number of calls of `Hang` that are neither cancelled nor ended.
    #[must_use]
    pub fn hanging(&self) -> u64 {
        self.hanging.load(Ordering::SeqCst)
    }

    /// Handles a call.
    pub async fn call(&self, request: http::Request<Incoming>) -> http::Response<Body> {
        let mut grpc = GrpcServer::new(BytesCodec);
        match request.uri().path() {
            "/test.Echo/Sum" => grpc.client_streaming(service_fn(sum), request).await,
            "/test.Echo/Count" => grpc.server_streaming(service_fn(count), request).await,
            "/test.Echo/Chat" => grpc.streaming(service_fn(chat), request).await,
            "/test.Echo/Hang" => {
                let hanging = Hanging::new(&self.hanging);
                let hang = move |_: Request<Bytes>| {
                    let hanging = Hanging::new(&hanging.0);
                    async move {
                        std::future::pending::<()>().await;
                        drop(hanging);
                        Ok(Response::new(Bytes::new()))
                    }
                };
                grpc.unary(service_fn(hang), request).await
            }
            _ => grpc.unary(service_fn(unary), request).await,
        }
    }
}

/// A call that hangs. It is counted twice: while it is received, and while it is handled.
struct Hanging(Arc<AtomicU64>);

impl Hanging {
    fn new(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

type Messages = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

async fn unary(request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    let field = |name| request.metadata().get(name).map(|value| Bytes::copy_from_slice(value.as_bytes()));
    match request.get_ref().as_ref() {
        b"fail" => Err(Status::new(Code::FailedPrecondition, "told to fail: 100 %")),
        b"deadline" => Ok(Response::new(field("grpc-timeout").unwrap_or_default())),
        b"te" => Ok(Response::new(field("te").unwrap_or_default())),
        _ => Ok(Response::new(request.into_inner())),
    }
}

async fn sum(request: Request<Streaming<Bytes>>) -> Result<Response<Bytes>, Status> {
    let (mut messages, mut count, mut bytes) = (request.into_inner(), 0, 0);
    while let Some(message) = messages.message().await? {
        count += 1;
        bytes += message.len();
    }
    Ok(Response::new(format!("{count} {bytes}").into()))
}

async fn count(request: Request<Bytes>) -> Result<Response<Messages>, Status> {
    let until: u64 = String::from_utf8_lossy(request.get_ref()).parse().unwrap_or_default();
    let numbers = stream::iter(0..until).map(|number| Ok(Bytes::from(number.to_string())));
    Ok(Response::new(Box::pin(numbers)))
}

async fn chat(request: Request<Streaming<Bytes>>) -> Result<Response<Messages>, Status> {
    Ok(Response::new(Box::pin(request.into_inner())))
}

/// A client of the service, through a gateway.
#[derive(Debug, Clone)]
pub struct EchoClient(GrpcClient<Channel>);

impl EchoClient {
    /// Connects to `host` through the gateway of `client`.
    pub async fn connect(client: &Client, host: &str) -> Result<Self> {
        let (client, name) = (client.clone().h2(), host.to_owned());
        let dial = service_fn(move |_| {
            let (client, name) = (client.clone(), name.clone());
            async move { client.tls(&name).await.map(TokioIo::new).map_err(std::io::Error::other) }
        });
        let endpoint = Endpoint::from_shared(format!("http://{host}"))?;
        let connected = timeout(TIMEOUT, endpoint.connect_with_connector(dial)).await;
        Ok(Self(GrpcClient::new(connected.context("connecting hangs")??)))
    }

    async fn ready(&self) -> Result<GrpcClient<Channel>, Status> {
        let mut grpc = self.0.clone();
        grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        Ok(grpc)
    }

    /// Sends a message and returns the response of `Unary`.
    pub async fn unary(&self, message: &'static str) -> Result<Bytes, Status> {
        self.unary_of("/test.Echo/Unary", Request::new(Bytes::from_static(message.as_bytes()))).await
    }

    /// Calls a method with one message and one response.
    pub async fn unary_of(&self, method: &'static str, request: Request<Bytes>) -> Result<Bytes, Status> {
        let (mut grpc, path) = (self.ready().await?, PathAndQuery::from_static(method));
        let called = timeout(TIMEOUT, grpc.unary(request, path, BytesCodec)).await;
        called.map_err(|_| Status::unknown("the call hangs"))?.map(Response::into_inner)
    }

    /// Sends the messages to `Sum`.
    pub async fn sum(&self, messages: Vec<Bytes>) -> Result<Bytes, Status> {
        let (mut grpc, path) = (self.ready().await?, PathAndQuery::from_static("/test.Echo/Sum"));
        let called = grpc.client_streaming(Request::new(stream::iter(messages)), path, BytesCodec);
        let called = timeout(TIMEOUT, called).await;
        called.map_err(|_| Status::unknown("the call hangs"))?.map(Response::into_inner)
    }

    /// Begins `Count` up to a number.
    pub async fn count(&self, until: u64) -> Result<Streaming<Bytes>, Status> {
        let (mut grpc, path) = (self.ready().await?, PathAndQuery::from_static("/test.Echo/Count"));
        let request = Request::new(Bytes::from(until.to_string()));
        grpc.server_streaming(request, path, BytesCodec).await.map(Response::into_inner)
    }

    /// Begins `Chat`; returns the two directions.
    pub async fn chat(&self) -> Result<(mpsc::Sender<Bytes>, Streaming<Bytes>), Status> {
        let (mut grpc, path) = (self.ready().await?, PathAndQuery::from_static("/test.Echo/Chat"));
        let (sender, messages) = mpsc::channel(1);
        let request = Request::new(ReceiverStream::new(messages));
        let called = timeout(TIMEOUT, grpc.streaming(request, path, BytesCodec)).await;
        let called = called.map_err(|_| Status::unknown("the call hangs"))?;
        Ok((sender, called?.into_inner()))
    }
}
