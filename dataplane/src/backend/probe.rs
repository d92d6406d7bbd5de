//! A probe of one backend: a connection in the protocol of its route, or a GET request and the status of its response.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, Version, header, request};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use webgateway_proto::model::options::ProxyProtocol;
use webgateway_proto::model::{Backend, Probe};

use super::dial::{DialError, Dialer, OwnListeners};
use super::transport::Transport;
use crate::config::Live;
use crate::proxy_protocol::local_header;

/// The maximum size of a response head, in bytes; the default limit of the traffic is the same.
const MAX_HEAD: usize = 64 * 1024;
/// The maximum number of fields in a response head.
const MAX_FIELDS: usize = MAX_HEAD / 32;
const USER_AGENT: &str = concat!("webgateway-health/", env!("CARGO_PKG_VERSION"));

/// The reason why a probe failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ProbeError {
    /// Connecting failed.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The status of the response is neither 2xx nor 3xx.
    #[error("GET {0} was answered {1}")]
    Status(String, StatusCode),
    /// No response arrived in time.
    #[error("GET {0} was not answered in time")]
    Timeout(String),
    /// The connection ended without a response, or the response is not valid HTTP.
    #[error("GET {0} was not answered with valid HTTP")]
    InvalidResponse(String),
}

/// The two parts of an HTTP/2 connection.
type Http2<I> = (h2::client::SendRequest<Bytes>, h2::client::Connection<I, Bytes>);

/// A GET request of a probe.
struct ProbeRequest<'a> {
    path: &'a str,
    host: &'a str,
    scheme: &'static str,
}

/// The target of a probe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProbeTarget<'a> {
    /// The backend.
    pub backend: Backend,
    /// The transport; `None` for plain HTTP/1.1.
    pub transport: Option<&'a Transport>,
    /// The host of a GET request.
    pub host: &'a str,
}

/// The dialer of probes, whose timeout follows reloads.
#[derive(Debug, Clone)]
pub(crate) struct ProbeDialer {
    dialer: Dialer,
    live: watch::Receiver<Live>,
    /// The PROXY protocol header that connections begin with, or nothing.
    header: &'static [u8],
}

impl ProbeDialer {
    /// Creates the dialer from one for the traffic.
    #[must_use]
    pub(crate) fn new(dialer: Dialer, live: watch::Receiver<Live>) -> Self {
        Self { dialer, live, header: &[] }
    }

    /// Returns the dialer for backends that expect a header of this protocol.
    #[must_use]
    pub(crate) fn announcing(&self, protocol: ProxyProtocol) -> Self {
        Self { header: local_header(protocol), ..self.clone() }
    }

    /// Returns the gateway's own listeners.
    #[must_use]
    pub(crate) fn own_listeners(&self) -> &OwnListeners {
        &self.dialer.own_listeners
    }

    /// Returns a dialer with the current timeout.
    #[must_use]
    pub(crate) fn current(&self) -> Dialer {
        Dialer { ack_timeout: self.live.borrow().limits.ack_timeout, ..self.dialer.clone() }
    }
}

/// Probes a backend within `limit`.
pub(crate) async fn probe(
    ProbeTarget { backend, transport, host }: ProbeTarget<'_>,
    kind: &Probe,
    limit: Duration,
    dialer: &ProbeDialer,
) -> Result<(), ProbeError> {
    let until = Instant::now() + limit;
    let (header, dialer) = (dialer.header, dialer.current());
    let stream = dialer.dial(backend.address(), header, limit).await?;
    let path = match kind {
        Probe::Tcp => None,
        Probe::Http(path) => Some(path.as_str()),
    };
    let is_http2 = transport.is_some_and(|transport| transport.is_http2);
    let Some(tls) = transport.and_then(|transport| transport.tls.as_ref()) else {
        let get = path.map(|path| ProbeRequest { path, host, scheme: "http" });
        return check(stream, is_http2, get, until).await;
    };
    let left = until.saturating_duration_since(Instant::now());
    let stream = dialer.tls.handshake(stream, tls, is_http2, left).await.map_err(DialError::from)?;
    let get = path.map(|path| ProbeRequest { path, host, scheme: "https" });
    check(stream, is_http2, get, until).await
}

/// Checks that the backend speaks HTTP/2, if it should, and that it responds to the request.
async fn check<I>(
    io: I,
    is_http2: bool,
    get: Option<ProbeRequest<'_>>,
    until: Instant,
) -> Result<(), ProbeError>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    if is_http2 {
        let begun = timeout_at(until, begin_http2(io)).await.map_err(|_| DialError::Timeout)?;
        let http2 = begun.ok_or(DialError::NoHttp2)?;
        let Some(get) = get else { return Ok(()) };
        return judge(get.path, timeout_at(until, get_http2(http2, &get)).await.ok());
    }
    let Some(get) = get else { return Ok(()) };
    judge(get.path, timeout_at(until, get_http1(io, &get)).await.ok())
}

/// Judges the status of a response to GET `path`: `None` if the time is over, `Some(None)` if it is not valid HTTP.
fn judge(path: &str, status: Option<Option<StatusCode>>) -> Result<(), ProbeError> {
    let path = || path.to_owned();
    match status {
        Some(Some(status)) if status.is_success() || status.is_redirection() => Ok(()),
        Some(Some(status)) => Err(ProbeError::Status(path(), status)),
        Some(None) => Err(ProbeError::InvalidResponse(path())),
        None => Err(ProbeError::Timeout(path())),
    }
}

/// Sends a GET request and returns the status of the response. Its body is not read: the connection is closed.
async fn get_http1<I>(io: I, get: &ProbeRequest<'_>) -> Option<StatusCode>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let request = head(get.path)
        .header(header::HOST, get.host)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .ok()?;
    let mut client = http1::Builder::new();
    client.max_buf_size(MAX_HEAD).max_headers(MAX_FIELDS);
    let (mut sender, connection) = client.handshake(TokioIo::new(io)).await.ok()?;
    let (mut response, connection) =
        (std::pin::pin!(sender.send_request(request)), std::pin::pin!(connection));
    let response = tokio::select! {
        response = &mut response => response,
        // The connection has ended, but it may have delivered the response before.
        _ = connection => response.await,
    };
    response.ok().map(|response| response.status())
}

/// Does the same over HTTP/2.
async fn get_http2<I>((sender, connection): Http2<I>, get: &ProbeRequest<'_>) -> Option<StatusCode>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let uri = Uri::builder().scheme(get.scheme).authority(get.host).path_and_query(get.path).build().ok()?;
    let request = head(uri).version(Version::HTTP_2).body(()).ok()?;
    let response = async {
        let (response, _) = sender.ready().await.ok()?.send_request(request, true).ok()?;
        response.await.ok()
    };
    let (mut response, connection) = (std::pin::pin!(response), std::pin::pin!(connection));
    let response = tokio::select! {
        response = &mut response => response,
        _ = connection => response.await,
    };
    response.map(|response| response.status())
}

/// Begins HTTP/2, and waits for the settings of the backend, which show that it speaks HTTP/2 (RFC 9113 §3.4). Returns
/// `None` if the connection ends before.
async fn begin_http2<I>(io: I) -> Option<Http2<I>>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let (sender, mut connection) = http2_builder().handshake::<_, Bytes>(io).await.ok()?;
    poll_fn(|cx| {
        let ended = Pin::new(&mut connection).poll(cx).is_ready();
        match connection.max_concurrent_send_streams() {
            0 if ended => Poll::Ready(None),
            0 => Poll::Pending,
            _ => Poll::Ready(Some(())),
        }
    })
    .await?;
    Some((sender, connection))
}

fn http2_builder() -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(0)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX));
    builder
}

fn head<T>(target: T) -> request::Builder
where
    T: TryInto<Uri>,
    T::Error: Into<http::Error>,
{
    Request::get(target).header(header::USER_AGENT, USER_AGENT)
}
