//! Which certificate is served for which name; each parsed and checked once.

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

/// A certificate ready to be served.
pub(crate) struct ServedCert {
    /// What it is called.
    pub id: CertificateId,
    /// What it is good for.
    pub names: Vec<CertName>,
    /// When it ends, in Unix seconds.
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
    /// It has ended.
    #[error("it expired {0} s ago")]
    Expired(i64),
    /// It has not begun.
    #[error("it is not valid for another {0} s")]
    NotYetValid(i64),
}

impl ServedCert {
    /// Parses and checks a certificate at `now` (Unix seconds). All certificates share `tickets`, so that a
    /// renewal does not end the sessions.
    pub(crate) fn load(
        cert: &Certificate,
        tickets: &Arc<dyn ProducesTickets>,
        now: i64,
    ) -> Result<Self, UnusableCertificate> {
        let leaf = cert.chain.first().ok_or(UnusableCertificate::Leaf)?;
        let (_, parsed) = parse_x509_certificate(leaf).map_err(|_| UnusableCertificate::Leaf)?;
        let validity = parsed.validity();
        let (begins, ends) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        if ends <= now {
            return Err(UnusableCertificate::Expired(now - ends));
        }
        if begins > now {
            return Err(UnusableCertificate::NotYetValid(begins - now));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certified = Arc::new(certified(cert, &provider)?);
        let tls = Arc::new(server_config(Arc::clone(&certified), provider, tickets)?);
        let key = Zeroizing::new(cert.key.as_slice().into());
        let (id, names) = (cert.id.clone(), cert.names.clone());
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, leaf).as_ref());
        Ok(Self { id, names, not_after: ends, fingerprint, tls, certified, key })
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
    Ok(config)
}

/// The certificates, by what they are good for. Exact beats wildcard.
#[derive(Clone, Default)]
pub(crate) struct Certs {
    by_id: HashMap<CertificateId, Arc<ServedCert>>,
    exact: HashMap<Host, Arc<ServedCert>>,
    wildcard: HashMap<Host, Arc<ServedCert>>,
}

impl Certs {
    /// The certificate to serve for a lower-case host.
    #[must_use]
    pub(crate) fn lookup(&self, host: &str) -> Option<&Arc<ServedCert>> {
        self.exact.get(host).or_else(|| self.wildcard.get(host.split_once('.')?.1))
    }

    /// The ids of all.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &CertificateId> {
        self.by_id.keys()
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<ServedCert>> {
        self.by_id.values()
    }

    /// Takes a certificate, in place of the one with its id.
    pub(crate) fn insert(&mut self, cert: ServedCert) {
        self.remove(&cert.id.clone());
        let cert = Arc::new(cert);
        for name in &cert.names {
            let (map, host) = self.map_of(name);
            map.insert(host.clone(), Arc::clone(&cert));
        }
        self.by_id.insert(cert.id.clone(), cert);
    }

    /// Drops the certificate of an id.
    pub(crate) fn remove(&mut self, id: &CertificateId) {
        let Some(old) = self.by_id.remove(id) else { return };
        for name in &old.names {
            let (map, host) = self.map_of(name);
            if map.get(host).is_some_and(|current| current.id == old.id) {
                map.remove(host);
            }
        }
    }

    fn map_of<'n>(&mut self, name: &'n CertName) -> (&mut HashMap<Host, Arc<ServedCert>>, &'n Host) {
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

    fn load(cert: &Certificate, now: i64) -> Result<ServedCert, UnusableCertificate> {
        ServedCert::load(cert, &tickets(), now)
    }

    #[test]
    fn exact_beats_wildcard_and_a_removal_leaves_the_other() {
        let mut certs = Certs::default();
        certs.insert(load(&certificate(&["*.a.b", "a.b"], 0, 100), 50).unwrap());
        certs.insert(load(&certificate(&["x.a.b"], 0, 100), 50).unwrap());
        let id = |certs: &Certs, host: &str| certs.lookup(host).map(|cert| cert.id.to_string());
        assert_eq!(id(&certs, "x.a.b").as_deref(), Some("x.a.b"));
        assert_eq!(id(&certs, "y.a.b").as_deref(), Some("*.a.b"));
        assert_eq!(id(&certs, "a.b").as_deref(), Some("*.a.b"));
        assert_eq!(id(&certs, "x.y.a.b"), None);
        certs.remove(&CertificateId::parse("x.a.b").unwrap());
        assert_eq!(id(&certs, "x.a.b").as_deref(), Some("*.a.b"));
        assert!(certs.lookup("x.a.b").unwrap().covers("x.a.b"));
        assert!(!certs.lookup("x.a.b").unwrap().covers("x.y.a.b"));
    }

    #[test]
    fn what_cannot_be_served_says_why() {
        let good = certificate(&["a.b"], 100, 200);
        assert!(load(&good, 150).is_ok_and(|served| served.source() == good));
        assert!(matches!(load(&good, 200), Err(UnusableCertificate::Expired(0))));
        assert!(matches!(load(&good, 99), Err(UnusableCertificate::NotYetValid(1))));
        let other = certificate(&["a.b"], 100, 200);
        let mixed = Certificate { key: other.key, ..good.clone() };
        assert!(matches!(load(&mixed, 150), Err(UnusableCertificate::Tls(_))));
        let broken = Certificate { chain: vec![vec![1, 2, 3]], ..good };
        assert!(matches!(load(&broken, 150), Err(UnusableCertificate::Leaf)));
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
            let tls = ServedCert::load(cert, &tickets, now).unwrap().tls;
            let mut client = ClientConnection::new(Arc::clone(&config), "a.b".try_into().unwrap()).unwrap();
            converse(&mut client, &mut ServerConnection::new(tls).unwrap());
            client.handshake_kind().unwrap()
        });
        assert!(matches!(kinds[0], HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest));
        assert_eq!(kinds[1], HandshakeKind::Resumed);
    }
}
