//! What a CA is answered that asks whether we hold a host.

use std::sync::Arc;

use imbl::HashMap;
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use webgateway_proto::feed::{Challenge, ChallengeResponse};
use webgateway_proto::model::Host;

/// The protocol of TLS-ALPN-01 (RFC 8737 §6.2).
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// The challenges under way, by host.
#[derive(Clone, Default)]
pub struct Challenges(HashMap<Host, Arc<ServedChallenge>>);

/// A challenge ready to be answered.
pub enum ServedChallenge {
    /// Finishes handshakes that offer `acme-tls/1` alone.
    TlsAlpn(Arc<ServerConfig>),
    /// Answers one path on :80.
    Http {
        /// The last segment of the path.
        token: Box<str>,
        /// The body.
        key_authorization: Box<str>,
    },
}

impl ServedChallenge {
    /// Makes a challenge ready; fails if its certificate and key do not fit.
    pub fn load(response: &ChallengeResponse) -> Result<Self, rustls::Error> {
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
    let chain = vec![CertificateDer::from(certificate.to_vec())];
    let certified = CertifiedKey::from_der(chain, key, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

impl Challenges {
    /// The challenge of a lower-case host.
    #[must_use]
    pub fn lookup(&self, host: &str) -> Option<&Arc<ServedChallenge>> {
        self.0.get(host)
    }

    /// The hosts of all.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.0.keys()
    }

    /// Takes a challenge, in place of its host's last one.
    pub fn insert(&mut self, challenge: &Challenge) -> Result<(), rustls::Error> {
        let served = ServedChallenge::load(&challenge.response)?;
        self.0.insert(challenge.host.clone(), Arc::new(served));
        Ok(())
    }

    /// Drops a host's challenge.
    pub fn remove(&mut self, host: &Host) {
        self.0.remove(host);
    }
}
