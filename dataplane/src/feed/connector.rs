//! The connections to the controlplanes, over a Unix socket or by mutual TLS, with rotation through the endpoints.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint as Http2};
use tower::service_fn;
use webgateway_proto::error_chain;
use webgateway_proto::feed::CONTROLPLANE_NAME;
use webgateway_proto::model::RemoteAddress;

use super::rotation::EndpointRotation;
use crate::clock::unix_now;
use crate::config::Endpoint;
use crate::identity::{ClientConfigError, IdentityStore, client_config, is_validity_error};

/// The interval between HTTP/2 pings, by which a dead connection is noticed.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// The time for the response to a ping.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The time to connect, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The flow control window, in bytes: with the default of 64 KiB a full sync over a long distance would be slow.
const WINDOW: u32 = 1024 * 1024;

/// The channel to a remote controlplane, while one is connected. Clones share it.
pub(crate) type RemoteChannel = Arc<ArcSwapOption<Channel>>;

/// No connection to the controlplane can be made.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    /// The controlplane cannot be reached, or the handshake failed.
    #[error("cannot connect: {}", root_cause(.0))]
    Transport(#[from] tonic::transport::Error),
    /// This node has no certificate yet.
    #[error(
        "this node has not joined: make a token with `gwctl nodes invite`, then run `webgateway-dataplane join -`"
    )]
    NotJoined,
    /// This node's certificate is no longer valid.
    #[error(
        "this node's certificate has expired by this machine's clock: check the clock; if it is right, remove the node, \
         invite it again and join again"
    )]
    Expired,
    /// This node's key or certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] ClientConfigError),
}

/// Formats the root cause of an error, as tonic's own text is only "transport error"; adds advice if a clock may be
/// wrong.
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let text = error_chain(error).last().map(ToString::to_string).unwrap_or_default();
    let is_about_clock = error_chain(error).filter_map(|error| error.downcast_ref()).any(is_validity_error);
    if is_about_clock {
        format!("{text}: check the clocks of this machine and of the controlplane's")
    } else {
        text
    }
}

/// The connector to the controlplanes.
pub(crate) struct FeedConnector {
    endpoints: Vec<Endpoint>,
    identity: Option<IdentityStore>,
    rotation: EndpointRotation,
    /// The last error of each endpoint, so that the same error is not logged at every attempt.
    failures: Vec<Option<String>>,
    remote: RemoteChannel,
}

impl FeedConnector {
    /// Returns a connector that tries `endpoints` in turn. There must be at least one; remote ones need an `identity`.
    #[must_use]
    pub(crate) fn new(endpoints: Vec<Endpoint>, identity: Option<IdentityStore>) -> Self {
        let (failures, rotation) = (vec![None; endpoints.len()], EndpointRotation::default());
        Self { endpoints, identity, rotation, failures, remote: RemoteChannel::default() }
    }

    /// Returns the shared channel, which is set while a remote controlplane is connected.
    #[must_use]
    pub(crate) fn remote_channel(&self) -> RemoteChannel {
        Arc::clone(&self.remote)
    }

    /// Returns the current endpoint, as text.
    #[must_use]
    pub(crate) fn current(&self) -> String {
        self.endpoints[self.rotation.current()].to_string()
    }

    /// Connects to the current endpoint.
    pub(crate) async fn connect(&self) -> Result<Channel, ConnectError> {
        let endpoint = self.endpoints[self.rotation.current()].clone();
        let is_remote = matches!(endpoint, Endpoint::Remote(_));
        if is_remote {
            let identity =
                self.identity.as_ref().and_then(IdentityStore::get).ok_or(ConnectError::NotJoined)?;
            if identity.not_after <= unix_now() {
                return Err(ConnectError::Expired);
            }
            // Checked here too, as an error while dialling would be reported as a transport error.
            client_config(&identity)?;
        }
        let identity = self.identity.clone();
        let dial = service_fn(move |_| {
            let (endpoint, identity) = (endpoint.clone(), identity.clone());
            async move { dial(&endpoint, identity.as_ref()).await.map(TokioIo::new) }
        });
        let channel = http2().connect_with_connector(dial).await?;
        if is_remote {
            self.remote.store(Some(Arc::new(channel.clone())));
        }
        Ok(channel)
    }

    /// Records that the current endpoint works.
    pub(crate) fn record_success(&mut self) {
        self.rotation.record_success();
        self.failures[self.rotation.current()] = None;
    }

    /// Clears the shared channel, as the stream over it has ended.
    pub(crate) fn disconnect(&self) {
        self.remote.store(None);
    }

    /// Records the error of the current endpoint; returns whether it differs from that endpoint's last one.
    pub(crate) fn record_failure(&mut self, error: &str) -> bool {
        let last = &mut self.failures[self.rotation.current()];
        let differs = last.as_deref() != Some(error);
        if differs {
            *last = Some(error.to_owned());
        }
        differs
    }

    /// Moves on to the next endpoint; returns whether all of them have failed in a row.
    pub(crate) fn advance(&mut self) -> bool {
        self.rotation.record_failure(self.endpoints.len())
    }
}

/// Returns the HTTP/2 settings. The URI is only the `:authority` of requests; the connector decides what is dialled.
pub(super) fn http2() -> Http2 {
    Http2::from_static("http://controlplane")
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
}

trait AsyncStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> AsyncStream for S {}

async fn dial(endpoint: &Endpoint, identity: Option<&IdentityStore>) -> io::Result<Box<dyn AsyncStream>> {
    match endpoint {
        Endpoint::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        Endpoint::Remote(address) => {
            // Loaded at each dial: the channel may reconnect after a renewal.
            let identity = identity.and_then(IdentityStore::get).ok_or(io::ErrorKind::PermissionDenied)?;
            let config = client_config(&identity).map_err(io::Error::other)?;
            Ok(Box::new(connect_tls(address, config).await?))
        }
        Endpoint::File(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Connects to the controlplane at `address` over TCP and completes the TLS handshake.
pub(super) async fn connect_tls(
    address: &RemoteAddress,
    config: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect((address.host(), address.port())).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(CONTROLPLANE_NAME).map_err(io::Error::other)?;
    TlsConnector::from(config).connect(name, stream).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::{AlertDescription, CertificateError};
    use rustls_pki_types::UnixTime;

    use super::*;

    #[test]
    fn errors_about_validity_advise_to_check_the_clock() {
        let (time, before) =
            (UnixTime::since_unix_epoch(Duration::from_secs(9)), UnixTime::since_unix_epoch(Duration::ZERO));
        for (error, clock) in [
            (rustls::Error::AlertReceived(AlertDescription::CertificateExpired), true),
            (CertificateError::Expired.into(), true),
            (CertificateError::NotValidYet.into(), true),
            (CertificateError::ExpiredContext { time, not_after: before }.into(), true),
            (CertificateError::NotValidYetContext { time: before, not_before: time }.into(), true),
            (rustls::Error::AlertReceived(AlertDescription::UnknownCA), false),
            (CertificateError::UnknownIssuer.into(), false),
        ] {
            let text = root_cause(&io::Error::other(error.clone()));
            assert_eq!(text.contains("check the clock"), clock, "{text}");
            assert!(text.contains(&error.to_string()), "{text}");
        }
        assert_eq!(root_cause(&io::Error::from(io::ErrorKind::ConnectionRefused)), "connection refused");
    }
}
