//! How the node asks for its certificate: once with a token, from then on with the one it has.

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

use super::link::{http2, root, shake_hands};
use crate::identity::{Granted, is_about_time, is_wrong_authority};

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(10);

type Client = wire::enrolment_client::EnrolmentClient<Channel>;

/// Why there is no certificate.
#[derive(Debug, Error)]
pub enum NotGranted {
    /// Nobody there.
    #[error("cannot reach the controlplane at {0}: {1}")]
    Unreachable(RemoteAddress, io::Error),
    /// Somebody else is there.
    #[error(
        "what answers at {0} is not the controlplane that made the token: its CA is another one. Nothing was sent to it"
    )]
    WrongAuthority(RemoteAddress),
    /// One of the clocks is wrong.
    #[error(
        "the certificate of the controlplane at {0} is not valid at this machine's time: check the clock"
    )]
    Clock(RemoteAddress),
    /// TLS failed otherwise.
    #[error("no TLS with the controlplane at {0}: {1}")]
    Tls(RemoteAddress, io::Error),
    /// HTTP/2 failed.
    #[error("the connection to the controlplane failed: {}", root(.0))]
    Transport(#[from] tonic::transport::Error),
    /// It said no.
    #[error("the controlplane says: {}", .0.message())]
    Refused(#[from] Box<tonic::Status>),
    /// It took too long.
    #[error("the controlplane did not answer in time")]
    Timeout,
    /// It calls the node something that is no name.
    #[error("the controlplane's answer cannot be used: {0}")]
    Name(#[from] InvalidNodeNameError),
}

/// Joins with a token: its secret goes only to who has the token's CA, over TLS.
pub(crate) async fn join(
    token: &JoinToken,
    config: Arc<ClientConfig>,
    csr: Vec<u8>,
) -> Result<Granted, NotGranted> {
    let address = &token.address;
    let shaken = timeout(PATIENCE, shake_hands(address, config)).await;
    let stream =
        shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|e| why(address, e))?;
    let mut stream = Some(TokioIo::new(stream));
    let once = service_fn(move |_| {
        let stream = stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        async move { stream }
    });
    let mut client = Client::new(http2().connect_with_connector(once).await?);
    let secret = Bytes::copy_from_slice(&*token.secret);
    let asked = client.join(wire::JoinRequest { secret, csr: csr.into() });
    read(timeout(PATIENCE, asked).await.map_err(|_| NotGranted::Timeout)?)
}

/// Asks for the next certificate over the connection that the last one made.
pub(crate) async fn renew(channel: Channel, csr: Vec<u8>) -> Result<Granted, NotGranted> {
    let mut client = Client::new(channel);
    let asked = client.renew(wire::RenewRequest { csr: csr.into() });
    read(timeout(PATIENCE, asked).await.map_err(|_| NotGranted::Timeout)?)
}

fn read(
    answer: Result<tonic::Response<wire::NodeCertificate>, tonic::Status>,
) -> Result<Granted, NotGranted> {
    let answer = answer.map_err(Box::new)?.into_inner();
    let der = |all: Vec<Bytes>| all.into_iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    Ok(Granted { name: answer.node.parse()?, chain: der(answer.chain), roots: der(answer.roots) })
}

fn why(address: &RemoteAddress, error: io::Error) -> NotGranted {
    let address = address.clone();
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        None => NotGranted::Unreachable(address, error),
        Some(tls) if is_wrong_authority(tls) => NotGranted::WrongAuthority(address),
        Some(tls) if is_about_time(tls) => NotGranted::Clock(address),
        Some(_) => NotGranted::Tls(address, error),
    }
}
