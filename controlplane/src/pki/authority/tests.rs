//! The nodes' CA over a real store.

use prometheus_client::registry::Registry;
use rcgen::PKCS_ED25519;

use super::*;
use crate::metrics::Metrics;

/// Opens a CA in its own store.
pub(crate) async fn sample(dir: &std::path::Path, now: OffsetDateTime) -> (Store, NodeAuthority) {
    let metrics = Metrics::register(&mut Registry::default());
    let store = Store::open(&dir.join("x.db"), metrics).unwrap();
    let key = Arc::new(SecretKey::new(&[7; 32]).unwrap());
    let authority = NodeAuthority::open(&store, &key, now).await.unwrap();
    (store, authority)
}

/// Creates a new key and a certificate request for it.
pub(crate) fn request() -> (KeyPair, Vec<u8>) {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    (key, csr)
}

#[tokio::test]
async fn the_ca_is_created_once_and_its_key_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
    let (store, first) = sample(dir.path(), now).await;
    let key = Arc::new(SecretKey::new(&[7; 32]).unwrap());
    let again = NodeAuthority::open(&store, &key, now).await.unwrap();
    assert_eq!(first.fingerprint(), again.fingerprint());
    let other = Arc::new(SecretKey::new(&[8; 32]).unwrap());
    assert!(matches!(NodeAuthority::open(&store, &other, now).await, Err(NodeAuthorityError::Store(_))));
}

#[tokio::test]
async fn a_node_gets_a_certificate_for_its_key_and_its_registered_name() {
    let dir = tempfile::tempdir().unwrap();
    let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
    let (_, authority) = sample(dir.path(), now).await;
    let node = NodeIdentity { name: "fra-1".parse().unwrap(), member: Uuid::new_v4() };
    let (_, csr) = request();
    let signed = authority.sign(&csr, &node, now, Duration::days(30)).unwrap();
    assert_eq!(member(&signed.certificate), Some(node.member));
    assert_eq!(signed.not_after, now + Duration::days(30));
    let (_, parsed) = X509Certificate::from_der(&signed.certificate).unwrap();
    assert!(parsed.subject().to_string().contains("fra-1"));
    assert!(!parsed.is_ca());
    assert_eq!(member(authority.root()), None);
}

#[tokio::test]
async fn only_valid_requests_for_p256_keys_are_signed() {
    let dir = tempfile::tempdir().unwrap();
    let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
    let (_, authority) = sample(dir.path(), now).await;
    let node = NodeIdentity { name: "fra-1".parse().unwrap(), member: Uuid::new_v4() };
    let sign = |csr: &[u8]| authority.sign(csr, &node, now, Duration::days(30)).unwrap_err();
    assert!(matches!(sign(b"nonsense"), SignError::Request(_)));
    assert!(matches!(sign(&[0; MAX_CSR_SIZE + 1]), SignError::Size));
    let (_, mut forged) = request();
    *forged.last_mut().unwrap() ^= 1;
    assert!(matches!(sign(&forged), SignError::Request(_)));
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let csr = CertificateParams::default().serialize_request(&ed25519).unwrap().der().to_vec();
    assert!(matches!(sign(&csr), SignError::Key));
}
