//! The responses to ACME challenges, by which a CA validates that this gateway controls a host.

use std::sync::Arc;

use imbl::HashMap;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, InconsistentKeys, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use webgateway_proto::feed::{Challenge, ChallengeResponse};
use webgateway_proto::model::Host;
use x509_parser::parse_x509_certificate;

/// The ALPN protocol of TLS-ALPN-01 (RFC 8737 §6.2).
pub(crate) const ACME_TLS: &[u8] = b"acme-tls/1";

/// The pending challenges, by host.
#[derive(Clone, Default)]
pub(crate) struct Challenges(HashMap<Host, Arc<ServedChallenge>>);

/// The response to a challenge, in the form in which it is served.
pub(crate) enum ServedChallenge {
    /// TLS-ALPN-01: the configuration for handshakes that offer only `acme-tls/1`.
    TlsAlpn(Arc<ServerConfig>),
    /// HTTP-01: a response on port 80 (RFC 8555 §8.3).
    Http {
        /// The last segment of the request's path.
        token: Box<str>,
        /// The body of the response.
        key_authorization: Box<str>,
    },
}

impl ServedChallenge {
    /// Prepares the response to a challenge; fails if its certificate or key is malformed, or they do not match.
    pub(crate) fn load(response: &ChallengeResponse) -> Result<Self, rustls::Error> {
        match response {
            ChallengeResponse::TlsAlpn { certificate, key } => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.to_vec()));
                server_config(certificate, key).map(|config| Self::TlsAlpn(Arc::new(config)))
            }
            ChallengeResponse::Http { token, key_authorization } => Ok(Self::Http {
                token: token.as_str().into(),
                key_authorization: key_authorization.as_str().into(),
            }),
        }
    }
}

fn server_config(certificate: &[u8], key: PrivateKeyDer<'static>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certified = certified(certificate, key, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Returns the certificate with its key, after checking that they match. rustls' own check rejects the critical
/// extension of such a certificate (RFC 8737 §3).
fn certified(
    certificate: &[u8],
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, rustls::Error> {
    let key = provider.key_provider.load_private_key(key)?;
    let (_, parsed) = parse_x509_certificate(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let matches = key.public_key().is_some_and(|public| public.as_ref() == parsed.public_key().raw);
    if !matches {
        return Err(InconsistentKeys::KeyMismatch.into());
    }
    Ok(CertifiedKey::new(vec![CertificateDer::from(certificate.to_vec())], key))
}

impl Challenges {
    /// Returns the challenge of a lower-case host.
    #[must_use]
    pub(crate) fn lookup(&self, host: &str) -> Option<&Arc<ServedChallenge>> {
        self.0.get(host)
    }

    /// Iterates over the hosts that have a challenge.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.0.keys()
    }

    /// Inserts a challenge, replacing the one of the same host.
    pub(crate) fn insert(&mut self, challenge: &Challenge) -> Result<(), rustls::Error> {
        let served = ServedChallenge::load(&challenge.response)?;
        self.0.insert(challenge.host.clone(), Arc::new(served));
        Ok(())
    }

    /// Removes the challenge of a host.
    pub(crate) fn remove(&mut self, host: &Host) {
        self.0.remove(host);
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, KeyPair};

    use super::*;

    #[test]
    fn a_certificate_with_the_critical_extension_is_accepted_with_its_own_key_only() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(&[7; 32])];
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        let load = |certificate: &[u8], key: &KeyPair| {
            let (certificate, key) = (certificate.to_vec(), key.serialize_der().into());
            ServedChallenge::load(&ChallengeResponse::TlsAlpn { certificate, key }).map(drop)
        };
        assert_eq!(load(&certificate, &key), Ok(()));
        assert_eq!(load(&certificate, &other), Err(InconsistentKeys::KeyMismatch.into()));
        assert!(load(&certificate[1..], &key).is_err());
    }
}
