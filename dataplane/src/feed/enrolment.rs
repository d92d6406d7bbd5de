//! The enrolment calls: the first certificate is requested with a token, each later one over mutual TLS with the
//! current certificate.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use tokio::time::timeout;
use tonic::transport::Channel;
use tower::service_fn;
use webgateway_proto::feed::wire;
use webgateway_proto::model::{InvalidNodeNameError, JoinToken, RemoteAddress};

use super::connector::{connect_tls, http2, root_cause};
use crate::identity::{IssuedCertificate, is_validity_error, is_wrong_ca};

/// The timeout of the TLS handshake, and of each call.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

type Client = wire::enrolment_client::EnrolmentClient<Channel>;

/// The controlplane issued no certificate.
#[derive(Debug, Error)]
pub enum EnrolmentError {
    /// No connection can be made.
    #[error("cannot reach the controlplane at {0}: {1}")]
    Unreachable(RemoteAddress, io::Error),
    /// The server's CA is not the one that the token names.
    #[error(
        "the server at {0} is not the controlplane that made the token: its CA is another one. Nothing was sent to it: \
         check the address, or ask for another token"
    )]
    WrongCa(RemoteAddress),
    /// The server's certificate is not valid at this machine's time.
    #[error(
        "the certificate of the controlplane at {0} is not valid at this machine's time: check the clock"
    )]
    Clock(RemoteAddress),
    /// The TLS handshake failed for another reason.
    #[error("the TLS handshake with the controlplane at {0} failed: {1}")]
    Tls(RemoteAddress, io::Error),
    /// The HTTP/2 connection cannot be set up.
    #[error("the connection to the controlplane failed: {}", root_cause(.0))]
    Transport(#[from] tonic::transport::Error),
    /// The controlplane rejected the request.
    #[error("error from the controlplane: {}", .0.message())]
    Rejected(#[from] Box<tonic::Status>),
    /// No response arrived in time.
    #[error("the controlplane did not answer in time")]
    Timeout,
    /// The node's name in the response is malformed.
    #[error("the controlplane's response cannot be used: {0}")]
    Name(#[from] InvalidNodeNameError),
}

/// Requests the first certificate. The token's secret is sent only after the handshake has verified the pinned CA.
pub(crate) async fn join(
    token: &JoinToken,
    config: Arc<ClientConfig>,
    csr: Vec<u8>,
) -> Result<IssuedCertificate, EnrolmentError> {
    let address = &token.address;
    let connected = timeout(STEP_TIMEOUT, connect_tls(address, config)).await;
    let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let stream = connected.map_err(|error| classify(address, error))?;
    let mut stream = Some(TokioIo::new(stream));
    // The connector returns the stream that is connected already, so it can be called only once.
    let connector = service_fn(move |_| {
        let stream = stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        async move { stream }
    });
    let mut client = Client::new(http2().connect_with_connector(connector).await?);
    let secret = Bytes::copy_from_slice(&*token.secret);
    let call = client.join(wire::JoinRequest { secret, csr: csr.into() });
    issued(timeout(STEP_TIMEOUT, call).await.map_err(|_| EnrolmentError::Timeout)?)
}

/// Requests the next certificate over `channel`, which is authenticated by the current one.
pub(crate) async fn renew(channel: Channel, csr: Vec<u8>) -> Result<IssuedCertificate, EnrolmentError> {
    let mut client = Client::new(channel);
    let call = client.renew(wire::RenewRequest { csr: csr.into() });
    issued(timeout(STEP_TIMEOUT, call).await.map_err(|_| EnrolmentError::Timeout)?)
}

fn issued(
    response: Result<tonic::Response<wire::NodeCertificate>, tonic::Status>,
) -> Result<IssuedCertificate, EnrolmentError> {
    let response = response.map_err(Box::new)?.into_inner();
    let der = |all: Vec<Bytes>| all.into_iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    Ok(IssuedCertificate {
        name: response.node.parse()?,
        chain: der(response.chain),
        roots: der(response.roots),
    })
}

fn classify(address: &RemoteAddress, error: io::Error) -> EnrolmentError {
    let address = address.clone();
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        None => EnrolmentError::Unreachable(address, error),
        Some(tls) if is_wrong_ca(tls) => EnrolmentError::WrongCa(address),
        Some(tls) if is_validity_error(tls) => EnrolmentError::Clock(address),
        Some(_) => EnrolmentError::Tls(address, error),
    }
}
