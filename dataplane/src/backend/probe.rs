//! One check of one backend: a connection, or a GET and the head of its answer.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use webgateway_proto::model::{Backend, Probe};

use super::dial::{DialError, Dialer};
use super::stream::BackendStream;

/// The largest head that is read, in bytes: by default, traffic takes one of that size as well.
const MAX_HEAD: usize = 64 * 1024;
/// The fields that such a head has room for.
const MAX_FIELDS: usize = MAX_HEAD / 32;
const USER_AGENT: &str = concat!("webgateway-health/", env!("CARGO_PKG_VERSION"));

/// What is wrong with a backend.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ProbeError {
    /// It cannot be connected to.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// It answers with something else than success.
    #[error("GET {0} was answered {1}")]
    Status(String, StatusCode),
    /// It does not answer in time.
    #[error("GET {0} was not answered in time")]
    Timeout(String),
    /// It hangs up, or answers something that is no HTTP.
    #[error("GET {0} was not answered with HTTP")]
    InvalidResponse(String),
}

/// Looks at a backend, for `limit` at most. `host` is what a GET asks for.
pub(crate) async fn probe(
    backend: Backend,
    how: &Probe,
    host: &str,
    limit: Duration,
    dialer: &Dialer,
) -> Result<(), ProbeError> {
    let until = Instant::now() + limit;
    let stream = dialer.dial(backend.address(), limit).await?;
    let Probe::Http(path) = how else { return Ok(()) };
    match timeout_at(until, get(stream, path, host)).await {
        Ok(Some(status)) if status.is_success() || status.is_redirection() => Ok(()),
        Ok(Some(status)) => Err(ProbeError::Status(path.clone(), status)),
        Ok(None) => Err(ProbeError::InvalidResponse(path.clone())),
        Err(_) => Err(ProbeError::Timeout(path.clone())),
    }
}

/// The status of the answer. Its body is left unread: the connection ends here.
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
    let (mut answer, connection) = (std::pin::pin!(sender.send_request(request)), std::pin::pin!(connection));
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // It is over; what it delivered is still to be read.
        _ = connection => answer.await,
    };
    answer.ok().map(|response| response.status())
}
