//! A single HTTP/1.1 exchange over TCP or TLS, bounded in time and size.
//!
//! hyper-util connects, but its pooling `Client` is not used: on a stale pooled connection it would be unknown whether
//! a call was applied, and its HTTP/2 support would make the program considerably larger.

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

/// The maximum time for name resolution, TCP connection and TLS handshake together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The time that all addresses of a host share, so that a silent address leaves time for the next one.
const TCP_CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// The maximum time for one attempt at a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum size of a response body, in bytes.
const MAX_RESPONSE: usize = 16 * 1024 * 1024;

type BoxError = Box<dyn Error + Send + Sync>;
type ResolveFuture = Pin<Box<dyn Future<Output = io::Result<vec::IntoIter<SocketAddr>>> + Send>>;
type TcpConnector = HttpConnector<ServiceFn<fn(Name) -> ResolveFuture>>;

/// An exchange that failed before a complete response was received.
#[derive(Debug, Error)]
pub enum TransportError {
    /// The trusted CA certificates cannot be read.
    #[error("the trusted CA certificates cannot be read: {0}")]
    TrustStore(io::Error),
    /// The connection cannot be established.
    #[error("cannot connect to {authority}: {cause}")]
    Connect {
        /// The host and port.
        authority: String,
        /// The error message and those of its causes.
        cause: String,
        /// True if the error is transient: the connection is refused, or the host is unreachable.
        transient: bool,
    },
    /// The server's certificate is not trusted, is not valid for the host, or has expired.
    #[error("the certificate of {authority} is not accepted: {cause}")]
    Certificate {
        /// The host and port.
        authority: String,
        /// The error message and those of its causes.
        cause: String,
    },
    /// The TLS handshake failed.
    #[error("the TLS handshake with {authority} failed: {cause}")]
    Tls {
        /// The host and port.
        authority: String,
        /// The error message and those of its causes.
        cause: String,
    },
    /// The connection was not established within 5 s.
    #[error("cannot connect to {0} within {t} s", t = CONNECT_TIMEOUT.as_secs())]
    ConnectTimeout(String),
    /// The connection was closed or reset before the complete response was received.
    #[error("the connection to {authority} was lost before the response: {cause}")]
    ConnectionLost {
        /// The host and port.
        authority: String,
        /// The error message and those of its causes.
        cause: String,
    },
    /// The server does not speak HTTP.
    #[error("{0} does not respond with HTTP")]
    NotHttp(String),
    /// The complete response was not received within 30 s.
    #[error("no response within {t} s", t = CALL_TIMEOUT.as_secs())]
    Timeout,
    /// The response is larger than 16 MiB.
    #[error("the response of {0} is larger than {mib} MiB", mib = MAX_RESPONSE / 1024 / 1024)]
    TooLarge(String),
}

impl TransportError {
    /// Returns the kind of this error.
    pub(super) const fn kind(&self) -> ErrorKind {
        match self {
            Self::TrustStore(_)
            | Self::Connect { .. }
            | Self::Certificate { .. }
            | Self::Tls { .. }
            | Self::ConnectTimeout(_)
            | Self::ConnectionLost { .. }
            | Self::NotHttp(_)
            | Self::Timeout => ErrorKind::Unreachable,
            Self::TooLarge(_) => ErrorKind::Unexpected,
        }
    }
}

/// Fails with [`TransportError::Timeout`] if `call` takes longer than [`CALL_TIMEOUT`].
pub(super) async fn with_timeout<T>(call: impl Future<Output = T>) -> Result<T, TransportError> {
    timeout(CALL_TIMEOUT, call).await.map_err(|_| TransportError::Timeout)
}

/// Sends a request, whose URI is a path, on a new connection and returns the complete response.
pub(super) async fn exchange(
    endpoint: &Endpoint,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, TransportError> {
    let tcp = tcp_connector();
    if !endpoint.is_tls() {
        return send_and_receive(connect(tcp, endpoint).await?, request, endpoint).await;
    }
    let tls = HttpsConnectorBuilder::new()
        .with_provider_and_platform_verifier(default_provider())
        .map_err(TransportError::TrustStore)?;
    let tls = tls.https_only().enable_http1().wrap_connector(ProxyConnector::from_env(tcp));
    send_and_receive(connect(tls, endpoint).await?, request, endpoint).await
}

/// Returns a connector that tries every address of a host, IPv6 and IPv4 in parallel (RFC 8305).
fn tcp_connector() -> TcpConnector {
    let resolver: fn(Name) -> ResolveFuture = |name| Box::pin(resolve(name));
    let mut tcp = HttpConnector::new_with_resolver(service_fn(resolver));
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(TCP_CONNECT_TIMEOUT));
    tcp
}

/// Resolves a host. `localhost` and its subdomains are always this machine, regardless of DNS (RFC 6761 §6.3).
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
    match timeout(CONNECT_TIMEOUT, connector.oneshot(endpoint.uri().clone())).await {
        Ok(Ok(io)) => Ok(io),
        Ok(Err(error)) => Err(connect_error(authority, &*error.into())),
        Err(_) => Err(TransportError::ConnectTimeout(authority)),
    }
}

async fn send_and_receive<I>(
    io: I,
    request: Request<Bytes>,
    endpoint: &Endpoint,
) -> Result<Response<Bytes>, TransportError>
where
    I: Read + Write + Unpin,
{
    let broken = |error: hyper::Error| exchange_error(endpoint.authority().to_owned(), &error);
    let (mut sender, connection) = http1::handshake(io).await.map_err(broken)?;
    let exchange = async move {
        let response = sender.send_request(request.map(Full::new)).await.map_err(broken)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_RESPONSE).collect().await;
        let body = body.map_err(|error| match error.downcast::<LengthLimitError>() {
            Ok(_) => TransportError::TooLarge(endpoint.authority().to_owned()),
            Err(error) => connection_lost(endpoint.authority().to_owned(), &*error),
        })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    let (mut exchange, connection) = (pin!(exchange), pin!(connection));
    tokio::select! {
        response = &mut exchange => return response,
        // The connection has ended, but its buffered data may still complete the response.
        _ = connection => {}
    }
    exchange.await
}

fn connect_error(authority: String, error: &(dyn Error + 'static)) -> TransportError {
    let cause = describe_error(error);
    // Before the request is sent, only a TLS handshake reads: an early end is its failure.
    let is_eof = |error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
    if error_chain(error).filter_map(|error| error.downcast_ref()).any(is_eof) {
        return TransportError::Tls { authority, cause };
    }
    match error_chain(error).find_map(|error| error.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(invalid)) => {
            let hint = if is_validity_error(invalid) { ": check the clock of this machine" } else { "" };
            TransportError::Certificate { authority, cause: cause + hint }
        }
        Some(_) => TransportError::Tls { authority, cause },
        None => {
            let is_transient = |error: &io::Error| is_transient(error.kind());
            let transient = error_chain(error).filter_map(|error| error.downcast_ref()).any(is_transient);
            TransportError::Connect { authority, cause, transient }
        }
    }
}

/// Returns true if the certificate has expired or is not valid yet, by this machine's clock.
fn is_validity_error(error: &CertificateError) -> bool {
    matches!(
        error,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    )
}

/// Returns true if a later connection attempt may succeed.
fn is_transient(kind: io::ErrorKind) -> bool {
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

fn exchange_error(authority: String, error: &hyper::Error) -> TransportError {
    if error.is_parse() { TransportError::NotHttp(authority) } else { connection_lost(authority, error) }
}

fn connection_lost(authority: String, error: &(dyn Error + 'static)) -> TransportError {
    TransportError::ConnectionLost { authority, cause: describe_error(error) }
}
