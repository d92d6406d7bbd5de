//! TLS for connections from nodes: TLS 1.3 only, with a renewed server certificate and verified client certificates.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use time::{Duration, OffsetDateTime};
use tracing::{error, info};

use super::authority::{NodeAuthority, NodeAuthorityError};
use crate::clock::Clock;

/// The lifetime of the server certificate. It is short because the certificate cannot be revoked.
const LIFETIME: Duration = Duration::days(7);

/// Returns the TLS configuration of the listeners for remote nodes. A node without a certificate is accepted as
/// unauthenticated; an invalid certificate fails the handshake.
pub(crate) fn config(
    authority: &NodeAuthority,
    clock: Clock,
) -> Result<Arc<ServerConfig>, NodeAuthorityError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.root().clone())?;
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated().build()?;
    let resolver =
        ServerCertResolver { authority: authority.clone(), clock, current: ArcSwapOption::empty() };
    // An error is reported here, at the start, rather than at the first handshake.
    resolver.current()?;
    let mut config = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would keep a client certificate that has expired since.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// A resolver of the server certificate, which the first handshake after two thirds of its lifetime renews.
struct ServerCertResolver {
    authority: NodeAuthority,
    clock: Clock,
    current: ArcSwapOption<CachedCert>,
}

struct CachedCert {
    pair: Arc<CertifiedKey>,
    replace_at: OffsetDateTime,
}

impl ServerCertResolver {
    fn current(&self) -> Result<Arc<CertifiedKey>, NodeAuthorityError> {
        let now = self.clock.now();
        let cached = self.current.load_full();
        if let Some(cached) =
            cached.filter(|cached| now < cached.replace_at && now >= cached.replace_at - LIFETIME)
        {
            return Ok(Arc::clone(&cached.pair));
        }
        let issued = self.authority.server(now, LIFETIME)?;
        // The chain contains the root because a node that joins knows only the root's fingerprint.
        let chain = vec![issued.certificate, self.authority.root().clone()];
        let pair = Arc::new(CertifiedKey::new(chain, any_ecdsa_type(&issued.key)?));
        info!(until = %issued.not_after, "server certificate for nodes issued");
        let current = CachedCert { pair: Arc::clone(&pair), replace_at: now + LIFETIME * 2 / 3 };
        self.current.store(Some(Arc::new(current)));
        Ok(pair)
    }
}

impl ResolvesServerCert for ServerCertResolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current();
        current.inspect_err(|error| error!(%error, "no server certificate for nodes")).ok()
    }
}

impl fmt::Debug for ServerCertResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerCertResolver")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::pki::authority::tests::sample;

    static DAY: AtomicI64 = AtomicI64::new(20_000);

    fn today() -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::days(DAY.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn the_certificate_is_cached_and_renewed_without_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (_, authority) = sample(dir.path(), today()).await;
        let resolver =
            ServerCertResolver { authority, clock: Clock::from_fn(today), current: ArcSwapOption::empty() };
        let first = resolver.current().unwrap();
        DAY.fetch_add(4, Ordering::Relaxed);
        assert_eq!(resolver.current().unwrap().cert, first.cert);
        DAY.fetch_add(1, Ordering::Relaxed);
        let second = resolver.current().unwrap();
        assert_ne!(second.cert[0], first.cert[0]);
        assert_eq!(second.cert[1], first.cert[1], "the same CA");
        DAY.fetch_sub(10, Ordering::Relaxed);
        assert_ne!(
            resolver.current().unwrap().cert[0],
            second.cert[0],
            "renewed after the clock was set back"
        );
    }
}
