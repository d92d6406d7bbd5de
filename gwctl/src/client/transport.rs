//! One HTTP/1.1 exchange over TCP or TLS, bounded in time and size.
//!
//! hyper-util connects; the exchange is our own. hyper-util's `Client` keeps connections in a pool, where a stale one
//! would leave in doubt whether a change was made, and its HTTP/2 would make the program a good deal larger.

use std::error::Error;
use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::time::Duration;
use std::{io, vec};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use rustls::CertificateError;
use rustls::crypto::aws_lc_rs::default_provider;
use thiserror::Error;
use tokio::time::timeout;
use tower::util::ServiceFn;
use tower::{Service, ServiceExt, service_fn};
use webgateway_outgoing::ProxyConnector;
use webgateway_proto::{describe_error, error_chain};

use super::kind::ErrorKind;
use crate::endpoint::{Endpoint, is_localhost};

/// The time for name, connection and TLS handshake together.
const CONNECT: Duration = Duration::from_secs(5);
/// The time that all addresses of a host share, so that one that does not answer leaves time for the next.
const CONNECT_TCP: Duration = Duration::from_secs(4);
/// The time for a whole attempt.
const WHOLE: Duration = Duration::from_secs(30);
/// The largest answer, in bytes.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

type BoxError = Box<dyn Error + Send + Sync>;
type Resolving = Pin<Box<dyn Future<Output = io::Result<vec::IntoIter<SocketAddr>>> + Send>>;
type Tcp = HttpConnector<ServiceFn<fn(Name) -> Resolving>>;

/// An exchange without an answer.
#[derive(Debug, Error)]
pub enum TransportError {
    /// The trusted certificates cannot be read.
    #[error("the trusted certificates cannot be read: {0}")]
    Trust(io::Error),
    /// There is no connection.
    #[error("cannot connect to {authority}: {cause}")]
    Connect {
        /// Host and port.
        authority: String,
        /// The messages of the error and its causes.
        cause: String,
        /// True if it may pass: nobody listens, or there is no way to it now.
        passing: bool,
    },
    /// The certificate is not trusted, or is another host's.
    #[error("the certificate of {authority} is not accepted: {cause}")]
    Certificate {
        /// Host and port.
        authority: String,
        /// The messages of the error and its causes.
        cause: String,
    },
    /// The TLS handshake failed.
    #[error("no TLS with {authority}: {cause}")]
    Tls {
        /// Host and port.
        authority: String,
        /// The messages of the error and its causes.
        cause: String,
    },
    /// There is no connection within 5 s.
    #[error("cannot connect to {0} within {t} s", t = CONNECT.as_secs())]
    ConnectTimeout(String),
    /// The connection broke after the request was sent, or while it was.
    #[error("the connection to {authority} was lost before the answer: {cause}")]
    Lost {
        /// Host and port.
        authority: String,
        /// The messages of the error and its causes.
        cause: String,
    },
    /// Something else than HTTP came back.
    #[error("{0} does not answer with HTTP")]
    NotHttp(String),
    /// The answer is not whole within 30 s.
    #[error("no answer within {t} s", t = WHOLE.as_secs())]
    Timeout,
    /// The answer has more than 16 MiB.
    #[error("the answer of {0} is larger than {mib} MiB", mib = MAX_ANSWER / 1024 / 1024)]
    TooLarge(String),
}

impl TransportError {
    pub(super) const fn kind(&self) -> ErrorKind {
        match self {
            Self::Trust(_)
            | Self::Connect { .. }
            | Self::Certificate { .. }
            | Self::Tls { .. }
            | Self::ConnectTimeout(_)
            | Self::Lost { .. }
            | Self::NotHttp(_)
            | Self::Timeout => ErrorKind::Unreachable,
            Self::TooLarge(_) => ErrorKind::Unexpected,
        }
    }
}

/// Lets a call take [`WHOLE`] at most.
pub(super) async fn within_limit<T>(call: impl Future<Output = T>) -> Result<T, TransportError> {
    timeout(WHOLE, call).await.map_err(|_| TransportError::Timeout)
}

/// Sends a request, whose URI is a path, on a connection of its own and returns the whole answer.
pub(super) async fn exchange(
    endpoint: &Endpoint,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, TransportError> {
    let tcp = tcp();
    if !endpoint.is_tls() {
        return converse(connect(tcp, endpoint).await?, request, endpoint).await;
    }
    let tls = HttpsConnectorBuilder::new()
        .with_provider_and_platform_verifier(default_provider())
        .map_err(TransportError::Trust)?;
    let tls = tls.https_only().enable_http1().wrap_connector(ProxyConnector::from_env(tcp));
    converse(connect(tls, endpoint).await?, request, endpoint).await
}

/// Tries every address of a host, both families side by side (RFC 8305).
fn tcp() -> Tcp {
    let resolver: fn(Name) -> Resolving = |name| Box::pin(resolve(name));
    let mut tcp = HttpConnector::new_with_resolver(service_fn(resolver));
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TCP));
    tcp
}

/// The addresses of a host. `localhost` and what is below it are this machine, whatever DNS says (RFC 6761 §6.3).
async fn resolve(name: Name) -> io::Result<vec::IntoIter<SocketAddr>> {
    let host = name.as_str();
    let addresses: Vec<SocketAddr> = if is_localhost(host) {
        vec![(Ipv6Addr::LOCALHOST, 0).into(), (Ipv4Addr::LOCALHOST, 0).into()]
    } else {
        tokio::net::lookup_host((host, 0)).await?.collect()
    };
    Ok(addresses.into_iter())
}

async fn connect<C>(connector: C, endpoint: &Endpoint) -> Result<C::Response, TransportError>
where
    C: Service<Uri>,
    C::Error: Into<BoxError>,
{
    let authority = endpoint.authority().to_owned();
    match timeout(CONNECT, connector.oneshot(endpoint.uri().clone())).await {
        Ok(Ok(io)) => Ok(io),
        Ok(Err(error)) => Err(not_connected(authority, &*error.into())),
        Err(_) => Err(TransportError::ConnectTimeout(authority)),
    }
}

async fn converse<I>(
    io: I,
    request: Request<Bytes>,
    endpoint: &Endpoint,
) -> Result<Response<Bytes>, TransportError>
where
    I: Read + Write + Unpin,
{
    let broken = |error: hyper::Error| not_answered(endpoint.authority().to_owned(), &error);
    let (mut sender, connection) = http1::handshake(io).await.map_err(broken)?;
    let exchange = async move {
        let response = sender.send_request(request.map(Full::new)).await.map_err(broken)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| match error
            .downcast::<LengthLimitError>()
        {
            Ok(_) => TransportError::TooLarge(endpoint.authority().to_owned()),
            Err(error) => lost(endpoint.authority().to_owned(), &*error),
        })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    let (mut exchange, connection) = (pin!(exchange), pin!(connection));
    tokio::select! {
        answer = &mut exchange => return answer,
        // It is over; what it delivered is still to be read.
        _ = connection => {}
    }
    exchange.await
}

fn not_connected(authority: String, error: &(dyn Error + 'static)) -> TransportError {
    let cause = describe_error(error);
    // Only a handshake reads anything while connecting.
    let is_eof = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
    if error_chain(error).filter_map(|error| error.downcast_ref()).any(is_eof) {
        return TransportError::Tls { authority, cause };
    }
    match error_chain(error).find_map(|error| error.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(invalid)) => {
            let hint = if is_about_time(invalid) { ": check the clock of this machine" } else { "" };
            TransportError::Certificate { authority, cause: cause + hint }
        }
        Some(_) => TransportError::Tls { authority, cause },
        None => {
            let passes = |error: &io::Error| may_pass(error.kind());
            let passing = error_chain(error).filter_map(|error| error.downcast_ref()).any(passes);
            TransportError::Connect { authority, cause, passing }
        }
    }
}

/// Returns whether a certificate is not valid at this machine's time.
fn is_about_time(error: &CertificateError) -> bool {
    matches!(
        error,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    )
}

/// Returns true if a connection refused this way may be taken later.
fn may_pass(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::TimedOut
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
    )
}

fn not_answered(authority: String, error: &hyper::Error) -> TransportError {
    if error.is_parse() { TransportError::NotHttp(authority) } else { lost(authority, error) }
}

fn lost(authority: String, error: &(dyn Error + 'static)) -> TransportError {
    TransportError::Lost { authority, cause: describe_error(error) }
}
