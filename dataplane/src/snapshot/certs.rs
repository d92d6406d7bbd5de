//! Which certificate is served for which name; each parsed once, its validity judged whenever it is to be served.

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

/// The content of a record and its header, in bytes. With the tag and the type (RFC 8446 §5.2) it takes 16 KiB, which an
/// allocator gives exactly; with content of 16 KiB it would take 20.
const FRAGMENT: usize = 16 * 1024 - 17;

/// A certificate ready to be served.
pub(crate) struct ServedCert {
    /// What it is called.
    pub id: CertificateId,
    /// What it is good for.
    pub names: Vec<CertName>,
    /// The time at which its validity begins, in Unix seconds.
    pub not_before: i64,
    /// The time at which its validity ends, in Unix seconds.
    pub not_after: i64,
    /// SHA-256 of the leaf.
    pub fingerprint: [u8; 32],
    /// Serves this certificate and no other; h2, http/1.1 and http/1.0.
    pub tls: Arc<ServerConfig>,
    /// What it was made of, but for the chain, which the TLS library holds.
    certified: Arc<CertifiedKey>,
    key: Zeroizing<Box<[u8]>>,
}

/// Why a certificate cannot be served.
#[derive(Debug, Error)]
pub(crate) enum UnusableCertificate {
    /// The TLS library does not take it; a key that is not the leaf's above all.
    #[error("the key does not fit the chain, or one of them cannot be read: {0}")]
    Tls(#[from] rustls::Error),
    /// The leaf cannot be parsed.
    #[error("the leaf cannot be parsed")]
    Leaf,
}

impl ServedCert {
    /// Parses a certificate, valid at this time or not: the clock may be wrong now and right later. All certificates
    /// share `tickets`, so that a renewal does not end the sessions.
    pub(crate) fn load(
        cert: &Certificate,
        tickets: &Arc<dyn ProducesTickets>,
    ) -> Result<Self, UnusableCertificate> {
        let leaf = cert.chain.first().ok_or(UnusableCertificate::Leaf)?;
        let (_, parsed) = parse_x509_certificate(leaf).map_err(|_| UnusableCertificate::Leaf)?;
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

    /// Returns whether its validity has begun at `now` (Unix seconds), be it over or not.
    #[must_use]
    pub(crate) fn has_begun(&self, now: i64) -> bool {
        self.not_before <= now
    }

    /// Returns whether it is valid at `now` (Unix seconds).
    #[must_use]
    pub(crate) fn is_valid(&self, now: i64) -> bool {
        self.has_begun(now) && now < self.not_after
    }

    /// What it was made of.
    #[must_use]
    pub(crate) fn source(&self) -> Certificate {
        Certificate {
            id: self.id.clone(),
            names: self.names.clone(),
            chain: self.certified.cert.iter().map(|der| der.to_vec()).collect(),
            key: Zeroizing::new(self.key.to_vec()),
        }
    }

    /// Whether `host` is one of its names.
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

/// The certificates, by what they are good for.
#[derive(Clone, Default)]
pub(crate) struct Certs {
    by_id: HashMap<CertificateId, Versions>,
    exact: HashMap<Host, Versions>,
    wildcard: HashMap<Host, Versions>,
}

/// A certificate, and the one that it replaces, which serves until the new one's validity begins.
#[derive(Clone)]
struct Versions {
    current: Arc<ServedCert>,
    earlier: Option<Arc<ServedCert>>,
}

impl Versions {
    /// Iterates over both, the newer one first.
    fn iter(&self) -> impl Iterator<Item = &Arc<ServedCert>> {
        std::iter::once(&self.current).chain(&self.earlier)
    }
}

impl Certs {
    /// Returns the certificate to serve for a lower-case host at `now` (Unix seconds): a valid one, exact before
    /// wildcard, if there is one. An expired one is served rather than none, as the client judges it by its own clock and
    /// says what is wrong with it. One whose validity has not begun is not served.
    #[must_use]
    pub(crate) fn lookup(&self, host: &str, now: i64) -> Option<&Arc<ServedCert>> {
        let valid = self.all_for(host).find(|cert| cert.is_valid(now));
        valid.or_else(|| self.all_for(host).find(|cert| cert.has_begun(now)))
    }

    /// Returns whether there is a certificate for a lower-case host, valid or not.
    #[must_use]
    pub(crate) fn holds(&self, host: &str) -> bool {
        self.all_for(host).next().is_some()
    }

    fn all_for(&self, host: &str) -> impl Iterator<Item = &Arc<ServedCert>> {
        let wildcard = || self.wildcard.get(host.split_once('.')?.1);
        let exact = self.exact.get(host).into_iter().flat_map(Versions::iter);
        exact.chain(std::iter::once_with(wildcard).flatten().flat_map(Versions::iter))
    }

    /// Iterates over the ids of all.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &CertificateId> {
        self.by_id.keys()
    }

    /// Returns the number of certificates.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Iterates over all of them in an order in which [`Certs::insert`] takes them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<ServedCert>> {
        self.by_id.values().flat_map(|versions| versions.earlier.iter().chain([&versions.current]))
    }

    /// Takes a certificate at `now` (Unix seconds), in place of the one with its id. One whose validity has not begun
    /// leaves a valid one beside it until then.
    pub(crate) fn insert(&mut self, cert: ServedCert, now: i64) {
        let replaced = self.by_id.get(&cert.id).filter(|_| !cert.has_begun(now));
        let earlier = replaced.and_then(|old| old.iter().find(|old| old.is_valid(now))).cloned();
        self.remove(&cert.id);
        let versions = Versions { current: Arc::new(cert), earlier };
        for name in &versions.current.names {
            let mut named = versions.clone();
            named.earlier = named.earlier.filter(|earlier| earlier.names.contains(name));
            let (map, host) = self.map_of(name);
            map.insert(host.clone(), named);
        }
        self.by_id.insert(versions.current.id.clone(), versions);
    }

    /// Drops the certificate of an id.
    pub(crate) fn remove(&mut self, id: &CertificateId) {
        let Some(Versions { current: old, .. }) = self.by_id.remove(id) else { return };
        for name in &old.names {
            let (map, host) = self.map_of(name);
            if map.get(host).is_some_and(|versions| versions.current.id == old.id) {
                map.remove(host);
            }
        }
    }

    fn map_of<'n>(&mut self, name: &'n CertName) -> (&mut HashMap<Host, Versions>, &'n Host) {
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

    fn load(cert: &Certificate) -> Result<ServedCert, UnusableCertificate> {
        ServedCert::load(cert, &tickets())
    }

    #[test]
    fn exact_beats_wildcard_and_a_removal_leaves_the_other() {
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

    /// Each certificate that came, as its first name and its validity, at which time; what is served for `x.a.b` at which time.
    #[test]
    fn validity_is_judged_when_a_certificate_is_to_be_served() {
        type Came = (&'static str, i64, i64, i64);
        type Served = (i64, Option<i64>);
        let cases: [(&[Came], &[Served]); 8] = [
            // The clock was wrong when it came.
            (&[("x.a.b", 100, 200, 0)], &[(0, None), (99, None), (100, Some(100)), (199, Some(100))]),
            (&[("x.a.b", 100, 200, 900)], &[(900, Some(100)), (150, Some(100))]),
            // An expired one serves for want of a better one.
            (&[("x.a.b", 100, 200, 150)], &[(200, Some(100))]),
            (&[("x.a.b", 100, 200, 150), ("*.a.b", 110, 300, 150)], &[(150, Some(100)), (200, Some(110))]),
            (&[("x.a.b", 100, 200, 150), ("*.a.b", 90, 120, 150)], &[(95, Some(90)), (300, Some(100))]),
            // A renewal whose time has not come leaves the one before it; that its time came is enough to serve it.
            (
                &[("x.a.b", 0, 200, 50), ("x.a.b", 100, 300, 60), ("x.a.b", 100, 300, 70)],
                &[(70, Some(0)), (100, Some(100)), (250, Some(100))],
            ),
            (&[("x.a.b", 0, 200, 50), ("x.a.b", 100, 300, 150)], &[(150, Some(100)), (70, None)]),
            (&[("x.a.b", 10, 20, 50), ("x.a.b", 100, 300, 60)], &[(70, None), (100, Some(100))]),
        ];
        for (came, served) in cases {
            let mut certs = Certs::default();
            for &(name, from, to, at) in came {
                certs.insert(load(&certificate(&[name], from, to)).unwrap(), at);
            }
            assert!(certs.holds("x.a.b") && !certs.holds("a.b"));
            for &(now, expected) in served {
                let found = certs.lookup("x.a.b", now).map(|cert| cert.not_before);
                assert_eq!(found, expected, "{came:?} at {now}");
            }
        }
    }

    #[test]
    fn the_one_before_is_kept_with_its_names_and_goes_with_its_id() {
        let mut certs = Certs::default();
        certs.insert(load(&certificate(&["a.b", "b.b"], 0, 200)).unwrap(), 50);
        certs.insert(load(&certificate(&["a.b", "c.b"], 100, 300)).unwrap(), 50);
        let served = |certs: &Certs| {
            ["a.b", "b.b", "c.b"].map(|host| certs.lookup(host, 60).map(|cert| cert.not_before))
        };
        assert_eq!(served(&certs), [Some(0), None, None]);
        let mut again = Certs::default();
        certs.iter().for_each(|cert| again.insert(load(&cert.source()).unwrap(), 60));
        assert_eq!((served(&again), again.len()), ([Some(0), None, None], 1), "as from the cache");
        certs.remove(&CertificateId::parse("a.b").unwrap());
        assert_eq!((served(&certs), certs.len(), certs.iter().count()), ([None; 3], 0, 0));
    }

    #[test]
    fn what_cannot_be_served_says_why() {
        let good = certificate(&["a.b"], 100, 200);
        assert!(load(&good).is_ok_and(|served| served.source() == good));
        let other = certificate(&["a.b"], 100, 200);
        let mixed = Certificate { key: other.key, ..good.clone() };
        assert!(matches!(load(&mixed), Err(UnusableCertificate::Tls(_))));
        let broken = Certificate { chain: vec![vec![1, 2, 3]], ..good };
        assert!(matches!(load(&broken), Err(UnusableCertificate::Leaf)));
    }

    /// Brings bytes both ways until neither side has more to say.
    fn converse(client: &mut ClientConnection, server: &mut ServerConnection) {
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
    fn a_session_is_resumed_across_a_renewal() {
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
            converse(&mut client, &mut ServerConnection::new(tls).unwrap());
            client.handshake_kind().unwrap()
        });
        assert!(matches!(kinds[0], HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest));
        assert_eq!(kinds[1], HandshakeKind::Resumed);
    }
}
