//! TLS towards the controlplane: TLS 1.3 alone, its certificate verified always, ours shown.

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

/// Why TLS cannot be spoken.
#[derive(Debug, Error)]
pub(crate) enum ClientConfigError {
    /// The key or a certificate cannot be used.
    #[error("this node's key and certificate cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

/// For a node that has joined.
pub(crate) fn client_config(identity: &Identity) -> Result<Arc<ClientConfig>, ClientConfigError> {
    let mut roots = RootCertStore::empty();
    for root in &identity.roots {
        roots.add(root.clone())?;
    }
    let key = PrivatePkcs8KeyDer::from(identity.key.to_vec()).into();
    let config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_root_certificates(roots)
        .with_client_auth_cert(identity.chain.clone(), key)?;
    Ok(Arc::new(finish(config)))
}

/// For one that joins: of the CA it knows the SHA-256 of its certificate, which the controlplane shows.
#[must_use]
pub(crate) fn join_config(authority: [u8; 32], provider: Arc<CryptoProvider>) -> Arc<ClientConfig> {
    let pinned = Arc::new(PinnedCaVerifier { authority, provider });
    let config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .dangerous()
        .with_custom_certificate_verifier(pinned)
        .with_no_client_auth();
    Arc::new(finish(config))
}

fn finish(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    config
}

/// Verifies like everybody else, with the one CA of this fingerprint.
#[derive(Debug)]
struct PinnedCaVerifier {
    authority: [u8; 32],
    provider: Arc<CryptoProvider>,
}

/// Nothing of the CA the token names.
#[derive(Debug, Error)]
#[error("it is not the controlplane that made the token: its CA is another")]
struct WrongCaError;

/// Whether a handshake failed because the other end is of another CA than the token says.
#[must_use]
pub(crate) fn is_wrong_ca(error: &(dyn std::error::Error + 'static)) -> bool {
    let found = error.downcast_ref::<rustls::Error>();
    found.is_some_and(|e| {
        matches!(e, rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(why))) if why.is::<WrongCaError>())
    })
}

impl PinnedCaVerifier {
    fn verifier(&self, shown: &[CertificateDer<'_>]) -> Result<Arc<WebPkiServerVerifier>, rustls::Error> {
        let is_it = |der: &&CertificateDer<'_>| digest(&SHA256, der).as_ref() == self.authority.as_slice();
        let root = shown.iter().find(is_it).ok_or_else(wrong_ca)?;
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

/// Returns whether a handshake failed because a certificate is not valid at one side's time: a clock may be wrong.
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

    fn ca() -> Ca {
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

    fn verify(ca: &Ca, shown: &[CertificateDer<'static>], day: i64) -> Result<(), rustls::Error> {
        let mut authority = [0; 32];
        authority.copy_from_slice(digest(&SHA256, &ca.0).as_ref());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let pinned = PinnedCaVerifier { authority, provider };
        let now =
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(day.cast_unsigned() * 86_400 + 60));
        let name = ServerName::try_from(NAME).unwrap();
        pinned.verify_server_cert(&shown[0], &shown[1..], &name, &[], now).map(drop)
    }

    #[test]
    fn the_ca_must_be_the_one_of_the_token_and_everything_else_right() {
        let (ours, theirs) = (ca(), ca());
        let day = |n: i64| OffsetDateTime::UNIX_EPOCH + Duration::days(n);
        let good = leaf(&ours, NAME, day(20_000));
        assert_eq!(verify(&ours, &[good.clone(), ours.0.clone()], 20_000), Ok(()));
        let wrong = |shown: &[CertificateDer<'static>]| verify(&ours, shown, 20_000).unwrap_err();
        assert!(is_wrong_ca(&wrong(std::slice::from_ref(&good))), "the CA is not shown");
        let foreign = leaf(&theirs, NAME, day(20_000));
        assert!(is_wrong_ca(&wrong(&[foreign.clone(), theirs.0.clone()])));
        let error = wrong(&[foreign, ours.0.clone()]);
        assert!(!is_wrong_ca(&error) && !is_validity_error(&error), "shown, but it did not sign: {error}");
        wrong(&[leaf(&ours, "other.example", day(20_000)), ours.0.clone()]);
        for clock in [19_999, 20_001] {
            let error = verify(&ours, &[good.clone(), ours.0.clone()], clock).unwrap_err();
            assert!(!is_wrong_ca(&error) && is_validity_error(&error), "{error}");
        }
    }
}
