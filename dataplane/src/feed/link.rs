//! The connections to the controlplanes: each endpoint in its turn, over a socket or by mutual TLS.

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
use crate::identity::{Current, NoTls, is_about_time, member};

/// The interval between pings, by which each side learns whether the other one lives.
const PING: Duration = Duration::from_secs(5);
const PONG: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The bytes that may be under way: a full sync over a long distance is not to wait for each 64 KiB.
const WINDOW: u32 = 1024 * 1024;

/// The channel to a remote controlplane, while there is one. Clones are the same.
pub(crate) type RemoteChannel = Arc<ArcSwapOption<Channel>>;

/// The reason why there is no connection.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    /// The controlplane cannot be reached, or does not speak with us.
    #[error("cannot connect: {}", root(.0))]
    Transport(#[from] tonic::transport::Error),
    /// This node has no certificate yet.
    #[error(
        "this node has not joined: make a token with `gwctl nodes invite`, then run `webgateway-dataplane join -`"
    )]
    NotJoined,
    /// This node's certificate is no longer valid.
    #[error(
        "this node's certificate has ended by this machine's clock: check the clock; if it is right, remove the node, invite it again and join anew"
    )]
    Ended,
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] NoTls),
}

/// Formats what lies under "transport error", with what to do about a clock that is wrong.
pub(super) fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let text = error_chain(error).last().map(ToString::to_string).unwrap_or_default();
    let about_time = error_chain(error).filter_map(|error| error.downcast_ref()).any(is_about_time);
    if about_time {
        format!("{text}: check the clock of this machine and of the controlplane's")
    } else {
        text
    }
}

/// The connector to the controlplanes.
pub(crate) struct Link {
    endpoints: Vec<Endpoint>,
    identity: Option<Current>,
    rotation: EndpointRotation,
    /// The last failure of each, so that it is logged once.
    failures: Vec<Option<String>>,
    remote: RemoteChannel,
}

impl Link {
    /// Connects to these, one after the other; `identity` is needed for remote ones. There must be one.
    #[must_use]
    pub(crate) fn new(endpoints: Vec<Endpoint>, identity: Option<Current>) -> Self {
        let (failures, rotation) = (vec![None; endpoints.len()], EndpointRotation::default());
        Self { endpoints, identity, rotation, failures, remote: RemoteChannel::default() }
    }

    /// Returns the channel to a remote controlplane, while there is one.
    #[must_use]
    pub(crate) fn remote(&self) -> RemoteChannel {
        Arc::clone(&self.remote)
    }

    /// Returns the endpoint whose turn it is, as text.
    #[must_use]
    pub(crate) fn current(&self) -> String {
        self.endpoints[self.rotation.current()].to_string()
    }

    /// Connects to the endpoint whose turn it is.
    pub(crate) async fn connect(&self) -> Result<Channel, ConnectError> {
        let endpoint = self.endpoints[self.rotation.current()].clone();
        let is_remote = matches!(endpoint, Endpoint::Remote(_));
        if is_remote {
            let held = self.identity.as_ref().and_then(Current::get).ok_or(ConnectError::NotJoined)?;
            if held.not_after <= unix_now() {
                return Err(ConnectError::Ended);
            }
            member(&held)?;
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

    /// Takes note that the endpoint whose turn it is works.
    pub(crate) fn succeeded(&mut self) {
        self.rotation.succeeded();
        self.failures[self.rotation.current()] = None;
    }

    /// Gives up the channel to a remote controlplane, as its stream has ended.
    pub(crate) fn disconnect(&self) {
        self.remote.store(None);
    }

    /// Records why the endpoint whose turn it is failed; returns whether that differs from its last failure.
    pub(crate) fn record_failure(&mut self, error: &str) -> bool {
        let last = &mut self.failures[self.rotation.current()];
        let differs = last.as_deref() != Some(error);
        if differs {
            *last = Some(error.to_owned());
        }
        differs
    }

    /// Goes on to the next endpoint; returns whether all have failed since one worked.
    pub(crate) fn advance(&mut self) -> bool {
        self.rotation.failed(self.endpoints.len())
    }
}

/// Returns how HTTP/2 is spoken. The URI is the authority only; what is dialled is another matter.
pub(super) fn http2() -> Http2 {
    Http2::from_static("http://controlplane")
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn dial(endpoint: &Endpoint, identity: Option<&Current>) -> io::Result<Box<dyn Stream>> {
    match endpoint {
        Endpoint::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        Endpoint::Remote(address) => {
            // The identity as it is now: the channel dials again after a renewal.
            let held = identity.and_then(Current::get).ok_or(io::ErrorKind::PermissionDenied)?;
            let config = member(&held).map_err(io::Error::other)?;
            Ok(Box::new(shake_hands(address, config).await?))
        }
        Endpoint::File(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Connects to the controlplane at `address` by TLS.
pub(super) async fn shake_hands(
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
    fn what_may_be_the_clock_says_so() {
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
            let text = root(&io::Error::other(error.clone()));
            assert_eq!(text.contains("check the clock"), clock, "{text}");
            assert!(text.contains(&error.to_string()), "{text}");
        }
        assert_eq!(root(&io::Error::from(io::ErrorKind::ConnectionRefused)), "connection refused");
    }
}
