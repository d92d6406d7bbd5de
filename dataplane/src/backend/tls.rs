//! TLS connections to backends: one configuration for each setting, and the reasons why handshakes fail.

mod fault;
mod verifier;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use imbl::HashMap;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::warn;
use webgateway_proto::model::options::Trust;

pub(crate) use self::fault::TlsFault;
use self::verifier::{AnyCertificate, OwnCas};
use super::stream::BackendStream;
use super::transport::TlsSettings;

/// The maximum number of configurations that are kept. Beyond it all are dropped, so that those of removed routes do
/// not accumulate; open connections are not affected.
const MAX_CONFIGS: usize = 1024;

/// The TLS configurations of connections to backends, built when they are first needed. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct BackendTlsConfigs(Arc<Configs>);

#[derive(Default)]
struct Configs {
    /// The configurations by the accepted certificates, and by whether they are for HTTP/2.
    by_setting: ArcSwap<HashMap<(Trust, bool), Arc<ClientConfig>>>,
    /// The roots of the public CAs, as the system has them.
    public: OnceLock<Arc<RootCertStore>>,
}

impl BackendTlsConfigs {
    /// Performs a TLS handshake as a client within `limit`. With `is_http2`, the backend must choose `h2` by ALPN.
    pub(crate) async fn handshake(
        &self,
        stream: BackendStream,
        settings: &TlsSettings,
        is_http2: bool,
        limit: Duration,
    ) -> Result<TlsStream<BackendStream>, TlsFault> {
        let connector = TlsConnector::from(self.config(&settings.trust, is_http2)?);
        let connected = timeout(limit, connector.connect(settings.server_name.clone(), stream)).await;
        let stream = connected.map_err(|_| TlsFault::Timeout)?.map_err(|error| TlsFault::from(&error))?;
        if is_http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(TlsFault::NoHttp2);
        }
        Ok(stream)
    }

    /// Returns the configuration for a setting.
    fn config(&self, trust: &Trust, is_http2: bool) -> Result<Arc<ClientConfig>, TlsFault> {
        let key = (trust.clone(), is_http2);
        if let Some(config) = self.0.by_setting.load().get(&key) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.build(trust, is_http2)?);
        self.0.by_setting.rcu(|current| {
            let mut next = if current.len() < MAX_CONFIGS { HashMap::clone(current) } else { HashMap::new() };
            next.insert(key.clone(), Arc::clone(&config));
            next
        });
        Ok(config)
    }

    fn build(&self, trust: &Trust, is_http2: bool) -> Result<ClientConfig, TlsFault> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|_| TlsFault::Protocol)?;
        let mut config = match trust {
            Trust::Public => builder.with_webpki_verifier(web_pki(self.public_roots()?, &provider)?),
            Trust::Ca(certificates) => {
                let certificates = certificates.as_slice();
                let issued = web_pki(root_store(certificates.iter().cloned()), &provider)?;
                let verifier = OwnCas::new(issued, certificates.into());
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
            Trust::Insecure => {
                let verifier = AnyCertificate::new(provider.signature_verification_algorithms);
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
        }
        .with_no_client_auth();
        let protocol: &[u8] = if is_http2 { b"h2" } else { b"http/1.1" };
        config.alpn_protocols = vec![protocol.to_vec()];
        // A resumed session is not verified again, so that a certificate could expire unnoticed. Connections are
        // pooled, so handshakes are rare.
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    fn public_roots(&self) -> Result<Arc<RootCertStore>, TlsFault> {
        let roots = self.0.public.get_or_init(|| {
            let loaded = rustls_native_certs::load_native_certs();
            let roots = root_store(loaded.certs);
            if roots.is_empty() {
                let errors: Vec<String> = loaded.errors.iter().map(ToString::to_string).collect();
                warn!(?errors, "no certificates of public CAs found, install the package ca-certificates");
            }
            roots
        });
        if roots.is_empty() { Err(TlsFault::NoRoots) } else { Ok(Arc::clone(roots)) }
    }
}

/// Returns a store of roots; certificates that cannot be used are omitted.
fn root_store(certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    Arc::new(roots)
}

fn web_pki(
    roots: Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TlsFault> {
    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|_| TlsFault::NoRoots)
}

impl fmt::Debug for BackendTlsConfigs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BackendTlsConfigs").field(&self.0.by_setting.load().len()).finish()
    }
}
