//! The internal CA's certificates, verified by another library than the one that creates them.

use std::collections::HashSet;

use prometheus_client::registry::Registry;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tempfile::TempDir;
use webgateway_proto::model::Host;

use super::*;
use crate::clock::Clock;
use crate::metrics::Metrics;

fn open_store(folder: &Path) -> Store {
    Store::open(&folder.join("controlplane.db"), Metrics::register(&mut Registry::default())).unwrap()
}

fn key() -> Arc<SecretKey> {
    Arc::new(SecretKey::new(&[1; 32]).unwrap())
}

fn now() -> OffsetDateTime {
    Clock::system().now()
}

fn verify(
    root: &Path,
    issued: &IssuedCertificate,
    name: &str,
    at: OffsetDateTime,
) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
        .build()
        .unwrap();
    let leaf = CertificateDer::from_pem_slice(issued.chain.as_bytes()).unwrap();
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.unix_timestamp().unsigned_abs()));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier.verify_server_cert(&leaf, &[], &name, &[], at).map(drop)
}

#[tokio::test]
async fn certificates_are_valid_for_their_names_and_lifetime_only() {
    let dir = TempDir::new().unwrap();
    let ca = InternalCa::open(&open_store(dir.path()), &key(), dir.path(), now()).await.unwrap();
    let base = Host::parse("gw.example").unwrap();
    let issued = ca.issue(&CertificateSpec::base(&base), now()).unwrap();
    let root = dir.path().join(ROOT_FILE);
    for good in ["gw.example", "app.gw.example"] {
        verify(&root, &issued, good, now()).unwrap();
    }
    for bad in ["x.app.gw.example", "example", "other.example"] {
        assert!(verify(&root, &issued, bad, now()).is_err(), "{bad}");
    }
    verify(&root, &issued, "gw.example", now() - Duration::minutes(4)).unwrap();
    assert!(verify(&root, &issued, "gw.example", now() - Duration::minutes(6)).is_err());
    verify(&root, &issued, "gw.example", now() + Duration::days(89)).unwrap();
    assert!(verify(&root, &issued, "gw.example", now() + Duration::days(90)).is_err());
}

#[tokio::test]
async fn the_certificate_matches_its_key() {
    let dir = TempDir::new().unwrap();
    let ca = InternalCa::open(&open_store(dir.path()), &key(), dir.path(), now()).await.unwrap();
    // This name is longer than a common name may be.
    let host = Host::parse(&format!("{}.{}.example", "a".repeat(60), "b".repeat(60))).unwrap();
    let spec = CertificateSpec::host(&host, &Host::parse("gw.example").unwrap()).unwrap();
    let issued = ca.issue(&spec, now()).unwrap();
    verify(&dir.path().join(ROOT_FILE), &issued, host.as_str(), now()).unwrap();
    let leaf = CertificateDer::from_pem_slice(issued.chain.as_bytes()).unwrap();
    let pkcs8 = PrivatePkcs8KeyDer::from(issued.key.to_vec());
    let fits = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf], pkcs8.into());
    assert!(fits.is_ok(), "{fits:?}");
}

#[tokio::test]
async fn the_ca_is_created_once_and_every_serial_is_unique() {
    let dir = TempDir::new().unwrap();
    let store = open_store(dir.path());
    let first = InternalCa::open(&store, &key(), dir.path(), now()).await.unwrap();
    let root = dir.path().join(ROOT_FILE);
    let pem = fs::read_to_string(&root).unwrap();
    fs::write(&root, "overwritten").unwrap();
    let second = InternalCa::open(&store, &key(), dir.path(), now()).await.unwrap();
    assert_eq!(fs::read_to_string(&root).unwrap(), pem);
    let spec = CertificateSpec::base(&Host::parse("gw.example").unwrap());
    let mut serials = HashSet::new();
    for ca in [&first, &second, &first, &second] {
        let issued = ca.issue(&spec, now()).unwrap();
        verify(&root, &issued, "gw.example", now()).unwrap();
        let der = CertificateDer::from_pem_slice(issued.chain.as_bytes()).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert!(serials.insert(parsed.raw_serial().to_vec()));
    }
}

#[tokio::test]
async fn another_secret_key_is_an_error_and_not_another_ca() {
    let dir = TempDir::new().unwrap();
    let store = open_store(dir.path());
    InternalCa::open(&store, &key(), dir.path(), now()).await.unwrap();
    let other = Arc::new(SecretKey::new(&[2; 32]).unwrap());
    let error = InternalCa::open(&store, &other, dir.path(), now()).await.unwrap_err().to_string();
    assert!(error.contains("secret_key_file"), "{error}");
}
