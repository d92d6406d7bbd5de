//! The TLS client configurations for the feed: TLS 1.3 only, with the controlplane's certificate verified.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, VerifierBuilderError};
use rustls::crypto::CryptoProvider;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use thiserror::Error;

use super::certificate::Identity;

/// No TLS configuration can be made of the identity.
#[derive(Debug, Error)]
pub(crate) enum ClientConfigError {
    /// The TLS library rejects the key or a certificate.
    #[error("this node's key and certificate cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

/// Returns the configuration of a node that has joined: mutual TLS with its certificate.
pub(crate) fn client_config(identity: &Identity) -> Result<Arc<ClientConfig>, ClientConfigError> {
    let mut roots = RootCertStore::empty();
    for root in &identity.roots {
        roots.add(root.clone())?;
    }
    let key = PrivatePkcs8KeyDer::from(identity.key.to_vec()).into();
    let config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_root_certificates(roots)
        .with_client_auth_cert(identity.chain.clone(), key)?;
    Ok(Arc::new(with_feed_settings(config)))
}

/// Returns the configuration of a node that is joining: without a client certificate, and with the CA pinned by the
/// SHA-256 of its certificate, which the controlplane has to send in its chain.
#[must_use]
pub(crate) fn join_config(ca_sha256: [u8; 32], provider: Arc<CryptoProvider>) -> Arc<ClientConfig> {
    let verifier = Arc::new(PinnedCaVerifier { ca_sha256, provider });
    let config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Arc::new(with_feed_settings(config))
}

fn with_feed_settings(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    config
}

/// A verifier by Web PKI rules whose only root is the CA certificate with a given SHA-256.
#[derive(Debug)]
struct PinnedCaVerifier {
    ca_sha256: [u8; 32],
    provider: Arc<CryptoProvider>,
}

/// The controlplane's chain does not contain the CA certificate that the token names.
#[derive(Debug, Error)]
#[error("this is not the controlplane that made the token: its CA is another one")]
struct WrongCaError;

/// Returns whether a handshake failed because the server's CA is not the one that the token names.
#[must_use]
pub(crate) fn is_wrong_ca(error: &(dyn std::error::Error + 'static)) -> bool {
    let tls = error.downcast_ref::<rustls::Error>();
    tls.is_some_and(|e| {
        matches!(e, rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(error))) if error.is::<WrongCaError>())
    })
}

impl PinnedCaVerifier {
    fn verifier(&self, chain: &[CertificateDer<'_>]) -> Result<Arc<WebPkiServerVerifier>, rustls::Error> {
        let is_pinned =
            |der: &&CertificateDer<'_>| digest(&SHA256, der).as_ref() == self.ca_sha256.as_slice();
        let root = chain.iter().find(is_pinned).ok_or_else(wrong_ca)?;
        let mut roots = RootCertStore::empty();
        roots.add(root.clone().into_owned())?;
        let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider));
        built.build().map_err(|error: VerifierBuilderError| rustls::Error::General(error.to_string()))
    }
}

fn wrong_ca() -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(WrongCaError))).into()
}

impl ServerCertVerifier for PinnedCaVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verifier = self.verifier(intermediates)?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Returns whether a handshake failed because one side's certificate is expired or not yet valid by the clock of the
/// other side.
#[must_use]
pub(crate) fn is_validity_error(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired)
            | rustls::Error::InvalidCertificate(
                CertificateError::Expired
                    | CertificateError::ExpiredContext { .. }
                    | CertificateError::NotValidYet
                    | CertificateError::NotValidYetContext { .. },
            )
    )
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    use time::{Duration, OffsetDateTime};

    use super::*;

    const NAME: &str = "controlplane.webgateway.internal";

    struct Ca(CertificateDer<'static>, Issuer<'static, KeyPair>);

    fn new_ca() -> Ca {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let root = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::from_ca_cert_der(&root, key).unwrap();
        Ca(root, issuer)
    }

    fn leaf(ca: &Ca, name: &str, now: OffsetDateTime) -> CertificateDer<'static> {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (now, now + Duration::hours(1));
        params.signed_by(&KeyPair::generate().unwrap(), &ca.1).unwrap().der().clone()
    }

    fn verify(ca: &Ca, chain: &[CertificateDer<'static>], day: i64) -> Result<(), rustls::Error> {
        let mut ca_sha256 = [0; 32];
        ca_sha256.copy_from_slice(digest(&SHA256, &ca.0).as_ref());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let pinned = PinnedCaVerifier { ca_sha256, provider };
        let now =
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(day.cast_unsigned() * 86_400 + 60));
        let name = ServerName::try_from(NAME).unwrap();
        pinned.verify_server_cert(&chain[0], &chain[1..], &name, &[], now).map(drop)
    }

    #[test]
    fn the_chain_must_contain_the_pinned_ca_and_be_valid_under_it() {
        let (ours, theirs) = (new_ca(), new_ca());
        let day = |n: i64| OffsetDateTime::UNIX_EPOCH + Duration::days(n);
        let good = leaf(&ours, NAME, day(20_000));
        assert_eq!(verify(&ours, &[good.clone(), ours.0.clone()], 20_000), Ok(()));
        let wrong = |chain: &[CertificateDer<'static>]| verify(&ours, chain, 20_000).unwrap_err();
        assert!(is_wrong_ca(&wrong(std::slice::from_ref(&good))), "the CA is not in the chain");
        let foreign = leaf(&theirs, NAME, day(20_000));
        assert!(is_wrong_ca(&wrong(&[foreign.clone(), theirs.0.clone()])));
        let error = wrong(&[foreign, ours.0.clone()]);
        assert!(
            !is_wrong_ca(&error) && !is_validity_error(&error),
            "the CA is in the chain, but did not sign the leaf: {error}"
        );
        wrong(&[leaf(&ours, "other.example", day(20_000)), ours.0.clone()]);
        for clock in [19_999, 20_001] {
            let error = verify(&ours, &[good.clone(), ours.0.clone()], clock).unwrap_err();
            assert!(!is_wrong_ca(&error) && is_validity_error(&error), "{error}");
        }
    }
}
