//! The certificates by name. Each is parsed once; its validity is checked at each lookup.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use imbl::HashMap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;
use webgateway_proto::model::{CertName, Certificate, CertificateId, Host};
use x509_parser::parse_x509_certificate;
use zeroize::Zeroizing;

/// The size of a TLS record's content and header, in bytes. With the tag and the type (RFC 8446 §5.2) a record takes 16
/// KiB, which is a size class of the allocator; with 16 KiB of content it would take 20 KiB.
const FRAGMENT: usize = 16 * 1024 - 17;

/// A certificate with the TLS configuration that serves it.
pub(crate) struct ServedCert {
    /// The id of the certificate.
    pub id: CertificateId,
    /// The host names and wildcards that the certificate covers.
    pub names: Vec<CertName>,
    /// The time at which its validity begins, in Unix seconds.
    pub not_before: i64,
    /// The time at which its validity ends, in Unix seconds.
    pub not_after: i64,
    /// The SHA-256 of the leaf in DER.
    pub fingerprint: [u8; 32],
    /// The configuration with only this certificate, for h2, http/1.1 and http/1.0.
    pub tls: Arc<ServerConfig>,
    /// The chain and the signing key, shared with `tls`.
    certified: Arc<CertifiedKey>,
    /// The private key, in PKCS#8 DER.
    key: Zeroizing<Box<[u8]>>,
}

/// A certificate cannot be served.
#[derive(Debug, Error)]
pub(crate) enum ServedCertError {
    /// The TLS library rejects the chain or the key, mostly because the key is not that of the leaf.
    #[error("the key does not match the chain, or one of them is malformed: {0}")]
    Tls(#[from] rustls::Error),
    /// The leaf is missing or cannot be parsed.
    #[error("the leaf is missing or cannot be parsed")]
    Leaf,
}

impl ServedCert {
    /// Parses a certificate. Its validity is not checked, as the clock may be wrong now and corrected later. All
    /// certificates share `tickets`, so that sessions can be resumed after a renewal.
    pub(crate) fn load(
        cert: &Certificate,
        tickets: &Arc<dyn ProducesTickets>,
    ) -> Result<Self, ServedCertError> {
        let leaf = cert.chain.first().ok_or(ServedCertError::Leaf)?;
        let (_, parsed) = parse_x509_certificate(leaf).map_err(|_| ServedCertError::Leaf)?;
        let validity = parsed.validity();
        let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certified = Arc::new(certified(cert, &provider)?);
        let tls = Arc::new(server_config(Arc::clone(&certified), provider, tickets)?);
        let key = Zeroizing::new(cert.key.as_slice().into());
        let (id, names) = (cert.id.clone(), cert.names.clone());
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, leaf).as_ref());
        Ok(Self { id, names, not_before, not_after, fingerprint, tls, certified, key })
    }

    /// Returns whether the validity has begun at `now` (Unix seconds); it may have ended.
    #[must_use]
    pub(crate) fn has_begun(&self, now: i64) -> bool {
        self.not_before <= now
    }

    /// Returns whether the certificate is valid at `now` (Unix seconds).
    #[must_use]
    pub(crate) fn is_valid(&self, now: i64) -> bool {
        self.has_begun(now) && now < self.not_after
    }

    /// Returns the resource that this certificate was loaded from.
    #[must_use]
    pub(crate) fn source(&self) -> Certificate {
        Certificate {
            id: self.id.clone(),
            names: self.names.clone(),
            chain: self.certified.cert.iter().map(|der| der.to_vec()).collect(),
            key: Zeroizing::new(self.key.to_vec()),
        }
    }

    /// Returns whether the certificate covers `host`.
    #[must_use]
    pub(crate) fn covers(&self, host: &str) -> bool {
        self.names.iter().any(|name| match name {
            CertName::Exact(exact) => exact.as_str() == host,
            CertName::Wildcard(parent) => {
                host.split_once('.').is_some_and(|(_, rest)| rest == parent.as_str())
            }
        })
    }
}

fn certified(cert: &Certificate, provider: &CryptoProvider) -> Result<CertifiedKey, rustls::Error> {
    let chain = cert.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(cert.key.to_vec()));
    CertifiedKey::from_der(chain, key, provider)
}

fn server_config(
    certified: Arc<CertifiedKey>,
    provider: Arc<CryptoProvider>,
    tickets: &Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = [b"h2".as_slice(), b"http/1.1", b"http/1.0"].map(<[u8]>::to_vec).into();
    config.ticketer = Arc::clone(tickets);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    config.max_fragment_size = Some(FRAGMENT);
    Ok(config)
}

/// The certificates by id, by host name and by wildcard.
#[derive(Clone, Default)]
pub(crate) struct Certs {
    by_id: HashMap<CertificateId, CertVersions>,
    exact: HashMap<Host, CertVersions>,
    wildcard: HashMap<Host, CertVersions>,
}

/// A certificate, and the one that it replaces, which is served until the validity of the new one begins.
#[derive(Clone)]
struct CertVersions {
    current: Arc<ServedCert>,
    earlier: Option<Arc<ServedCert>>,
}

impl CertVersions {
    /// Iterates over both, the newer one first.
    fn iter(&self) -> impl Iterator<Item = &Arc<ServedCert>> {
        std::iter::once(&self.current).chain(&self.earlier)
    }
}

impl Certs {
    /// Returns the certificate to serve for a lower-case host at `now` (Unix seconds): a valid one if there is one,
    /// with exact names before wildcards. An expired one is better than none, as the client checks it by its own clock
    /// and reports the reason. A certificate whose validity has not begun is never returned.
    #[must_use]
    pub(crate) fn lookup(&self, host: &str, now: i64) -> Option<&Arc<ServedCert>> {
        let valid = self.all_for(host).find(|cert| cert.is_valid(now));
        valid.or_else(|| self.all_for(host).find(|cert| cert.has_begun(now)))
    }

    /// Returns whether there is a certificate for a lower-case host, valid or not.
    #[must_use]
    pub(crate) fn contains(&self, host: &str) -> bool {
        self.all_for(host).next().is_some()
    }

    fn all_for(&self, host: &str) -> impl Iterator<Item = &Arc<ServedCert>> {
        let wildcard = || self.wildcard.get(host.split_once('.')?.1);
        let exact = self.exact.get(host).into_iter().flat_map(CertVersions::iter);
        exact.chain(std::iter::once_with(wildcard).flatten().flat_map(CertVersions::iter))
    }

    /// Iterates over the ids of all certificates.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &CertificateId> {
        self.by_id.keys()
    }

    /// Returns the number of certificate ids.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Iterates over all certificates, a replaced one before its replacement, so that inserting them in this order
    /// results in the same value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<ServedCert>> {
        self.by_id.values().flat_map(|versions| versions.earlier.iter().chain([&versions.current]))
    }

    /// Inserts a certificate at `now` (Unix seconds), replacing the one with the same id. If the validity of the new
    /// one has not begun, a valid old one stays in use until then.
    pub(crate) fn insert(&mut self, cert: ServedCert, now: i64) {
        let replaced = self.by_id.get(&cert.id).filter(|_| !cert.has_begun(now));
        let earlier = replaced.and_then(|old| old.iter().find(|old| old.is_valid(now))).cloned();
        self.remove(&cert.id);
        let versions = CertVersions { current: Arc::new(cert), earlier };
        for name in &versions.current.names {
            let mut named = versions.clone();
            named.earlier = named.earlier.filter(|earlier| earlier.names.contains(name));
            let (map, host) = self.map_of(name);
            map.insert(host.clone(), named);
        }
        self.by_id.insert(versions.current.id.clone(), versions);
    }

    /// Removes the certificate with this id.
    pub(crate) fn remove(&mut self, id: &CertificateId) {
        let Some(CertVersions { current: old, .. }) = self.by_id.remove(id) else { return };
        for name in &old.names {
            let (map, host) = self.map_of(name);
            if map.get(host).is_some_and(|versions| versions.current.id == old.id) {
                map.remove(host);
            }
        }
    }

    fn map_of<'n>(&mut self, name: &'n CertName) -> (&mut HashMap<Host, CertVersions>, &'n Host) {
        match name {
            CertName::Exact(host) => (&mut self.exact, host),
            CertName::Wildcard(parent) => (&mut self.wildcard, parent),
        }
    }
}

impl fmt::Debug for ServedCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedCert")
            .field("id", &self.id)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConnection};
    use zeroize::Zeroizing;

    use super::*;

    /// A self-signed certificate over `names`, valid from and to (Unix seconds).
    pub(crate) fn certificate(names: &[&str], from: i64, to: i64) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let plain: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(plain).unwrap();
        params.not_before = ::time::OffsetDateTime::from_unix_timestamp(from).unwrap();
        params.not_after = ::time::OffsetDateTime::from_unix_timestamp(to).unwrap();
        let signed = params.self_signed(&key).unwrap();
        Certificate {
            id: CertificateId::parse(names[0]).unwrap(),
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            chain: vec![signed.der().to_vec()],
            key: Zeroizing::new(key.serialize_der()),
        }
    }

    pub(crate) fn tickets() -> Arc<dyn ProducesTickets> {
        rustls::crypto::aws_lc_rs::Ticketer::new().unwrap()
    }

    fn load(cert: &Certificate) -> Result<ServedCert, ServedCertError> {
        ServedCert::load(cert, &tickets())
    }

    #[test]
    fn an_exact_name_takes_precedence_over_a_wildcard() {
        let mut certs = Certs::default();
        certs.insert(load(&certificate(&["*.a.b", "a.b"], 0, 100)).unwrap(), 50);
        certs.insert(load(&certificate(&["x.a.b"], 0, 100)).unwrap(), 50);
        let id = |certs: &Certs, host: &str| certs.lookup(host, 50).map(|cert| cert.id.to_string());
        assert_eq!(id(&certs, "x.a.b").as_deref(), Some("x.a.b"));
        assert_eq!(id(&certs, "y.a.b").as_deref(), Some("*.a.b"));
        assert_eq!(id(&certs, "a.b").as_deref(), Some("*.a.b"));
        assert_eq!(id(&certs, "x.y.a.b"), None);
        certs.remove(&CertificateId::parse("x.a.b").unwrap());
        assert_eq!(id(&certs, "x.a.b").as_deref(), Some("*.a.b"));
        assert!(certs.lookup("x.a.b", 50).unwrap().covers("x.a.b"));
        assert!(!certs.lookup("x.a.b", 50).unwrap().covers("x.y.a.b"));
    }

    /// Each case has certificates to insert (name, validity from, to, time of the insertion), and lookups of `x.a.b`:
    /// the time, and the `not_before` of the certificate expected.
    #[test]
    fn validity_is_checked_at_each_lookup() {
        type Insert = (&'static str, i64, i64, i64);
        type Lookup = (i64, Option<i64>);
        let cases: [(&[Insert], &[Lookup]); 8] = [
            // The clock was wrong at the insertion.
            (&[("x.a.b", 100, 200, 0)], &[(0, None), (99, None), (100, Some(100)), (199, Some(100))]),
            (&[("x.a.b", 100, 200, 900)], &[(900, Some(100)), (150, Some(100))]),
            // An expired certificate is served if there is no valid one.
            (&[("x.a.b", 100, 200, 150)], &[(200, Some(100))]),
            (&[("x.a.b", 100, 200, 150), ("*.a.b", 110, 300, 150)], &[(150, Some(100)), (200, Some(110))]),
            (&[("x.a.b", 100, 200, 150), ("*.a.b", 90, 120, 150)], &[(95, Some(90)), (300, Some(100))]),
            // A renewed certificate that is not valid yet leaves the old one in use until its validity begins.
            (
                &[("x.a.b", 0, 200, 50), ("x.a.b", 100, 300, 60), ("x.a.b", 100, 300, 70)],
                &[(70, Some(0)), (100, Some(100)), (250, Some(100))],
            ),
            (&[("x.a.b", 0, 200, 50), ("x.a.b", 100, 300, 150)], &[(150, Some(100)), (70, None)]),
            (&[("x.a.b", 10, 20, 50), ("x.a.b", 100, 300, 60)], &[(70, None), (100, Some(100))]),
        ];
        for (inserts, lookups) in cases {
            let mut certs = Certs::default();
            for &(name, from, to, at) in inserts {
                certs.insert(load(&certificate(&[name], from, to)).unwrap(), at);
            }
            assert!(certs.contains("x.a.b") && !certs.contains("a.b"));
            for &(now, expected) in lookups {
                let found = certs.lookup("x.a.b", now).map(|cert| cert.not_before);
                assert_eq!(found, expected, "{inserts:?} at {now}");
            }
        }
    }

    #[test]
    fn a_replaced_certificate_keeps_its_own_names_and_is_removed_with_its_id() {
        let mut certs = Certs::default();
        certs.insert(load(&certificate(&["a.b", "b.b"], 0, 200)).unwrap(), 50);
        certs.insert(load(&certificate(&["a.b", "c.b"], 100, 300)).unwrap(), 50);
        let served = |certs: &Certs| {
            ["a.b", "b.b", "c.b"].map(|host| certs.lookup(host, 60).map(|cert| cert.not_before))
        };
        assert_eq!(served(&certs), [Some(0), None, None]);
        let mut again = Certs::default();
        certs.iter().for_each(|cert| again.insert(load(&cert.source()).unwrap(), 60));
        assert_eq!((served(&again), again.len()), ([Some(0), None, None], 1), "restored from its sources");
        certs.remove(&CertificateId::parse("a.b").unwrap());
        assert_eq!((served(&certs), certs.len(), certs.iter().count()), ([None; 3], 0, 0));
    }

    #[test]
    fn a_mismatched_key_and_a_malformed_leaf_are_distinct_errors() {
        let good = certificate(&["a.b"], 100, 200);
        assert!(load(&good).is_ok_and(|served| served.source() == good));
        let other = certificate(&["a.b"], 100, 200);
        let mixed = Certificate { key: other.key, ..good.clone() };
        assert!(matches!(load(&mixed), Err(ServedCertError::Tls(_))));
        let broken = Certificate { chain: vec![vec![1, 2, 3]], ..good };
        assert!(matches!(load(&broken), Err(ServedCertError::Leaf)));
    }

    /// Transfers bytes in both directions until neither side has more to write.
    fn transfer(client: &mut ClientConnection, server: &mut ServerConnection) {
        while client.wants_write() || server.wants_write() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            let mut bytes = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            client.read_tls(&mut bytes.as_slice()).unwrap();
            client.process_new_packets().unwrap();
        }
    }

    #[test]
    fn a_session_is_resumed_after_a_renewal() {
        let (tickets, now) = (tickets(), crate::clock::unix_now());
        let (old, new) = [(); 2].map(|()| certificate(&["a.b"], now - 60, now + 600)).into();
        let mut roots = RootCertStore::empty();
        for cert in [&old, &new] {
            roots.add(CertificateDer::from(cert.chain[0].clone())).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        let kinds = [&old, &new].map(|cert| {
            let tls = ServedCert::load(cert, &tickets).unwrap().tls;
            let mut client = ClientConnection::new(Arc::clone(&config), "a.b".try_into().unwrap()).unwrap();
            transfer(&mut client, &mut ServerConnection::new(tls).unwrap());
            client.handshake_kind().unwrap()
        });
        assert!(matches!(kinds[0], HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest));
        assert_eq!(kinds[1], HandshakeKind::Resumed);
    }
}
