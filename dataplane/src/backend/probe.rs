//! A probe of one backend: a TCP connection, or a GET request and the status of its response.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use webgateway_proto::model::options::ProxyProtocol;
use webgateway_proto::model::{Backend, Probe};

use super::dial::{DialError, Dialer, OwnListeners};
use super::stream::BackendStream;
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

/// Probes a backend within `limit`. `host` is the Host field of a GET request.
pub(crate) async fn probe(
    backend: Backend,
    kind: &Probe,
    host: &str,
    limit: Duration,
    dialer: &ProbeDialer,
) -> Result<(), ProbeError> {
    let until = Instant::now() + limit;
    let stream = dialer.current().dial(backend.address(), dialer.header, limit).await?;
    let Probe::Http(path) = kind else { return Ok(()) };
    match timeout_at(until, get(stream, path, host)).await {
        Ok(Some(status)) if status.is_success() || status.is_redirection() => Ok(()),
        Ok(Some(status)) => Err(ProbeError::Status(path.clone(), status)),
        Ok(None) => Err(ProbeError::InvalidResponse(path.clone())),
        Err(_) => Err(ProbeError::Timeout(path.clone())),
    }
}

/// Sends a GET request and returns the status of the response. Its body is not read: the connection is closed.
async fn get(stream: BackendStream, path: &str, host: &str) -> Option<StatusCode> {
    let request = Request::get(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .ok()?;
    let mut client = http1::Builder::new();
    client.max_buf_size(MAX_HEAD).max_headers(MAX_FIELDS);
    let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.ok()?;
    let (mut response, connection) =
        (std::pin::pin!(sender.send_request(request)), std::pin::pin!(connection));
    let response = tokio::select! {
        response = &mut response => response,
        // The connection has ended, but it may have delivered the response before.
        _ = connection => response.await,
    };
    response.ok().map(|response| response.status())
}
