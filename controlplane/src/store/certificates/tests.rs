//! Certificates over a real database.

use std::path::Path;

use prometheus_client::registry::Registry;
use tempfile::TempDir;

use super::*;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::store::feed::changes_since;

const PEM: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";

fn open(folder: &Path) -> Store {
    Store::open(&folder.join("controlplane.db"), Metrics::register(&mut Registry::default())).unwrap()
}

fn key(byte: u8) -> SecretKey {
    SecretKey::new(&[byte; 32]).unwrap()
}

fn issued(id: &str, names: &[&str]) -> IssuedCertificate {
    IssuedCertificate {
        id: CertificateId::parse(id).unwrap(),
        names: names.iter().map(|name| name.parse().unwrap()).collect(),
        chain: PEM.repeat(2),
        key: Zeroizing::new(b"private key".to_vec()),
        issuer: "internal".into(),
        not_before: OffsetDateTime::UNIX_EPOCH,
        not_after: OffsetDateTime::UNIX_EPOCH + time::Duration::days(90),
    }
}

async fn write<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&mut WriteTx<'_>) -> Result<T, StoreError> + Send + 'static,
) -> T {
    store.write("test", work).await.unwrap()
}

async fn changes_after(store: &Store, version: u64, key_byte: u8) -> Result<Vec<ResourceChange>, StoreError> {
    let read = move |tx: &mut Tx<'_>| Ok(changes_since(tx, version, &key(key_byte))?.changed);
    store.read("test", read).await
}

#[tokio::test]
async fn stored_certificates_reach_the_nodes_and_dropped_ones_are_removed() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    write(&store, |tx| put(tx, &issued("gw.example", &["gw.example", "*.gw.example"]), &key(1))).await;
    let changed = changes_after(&store, 0, 1).await.unwrap();
    let Change::Put(resource) = &changed[0].change else { panic!("{changed:?}") };
    let Resource::Certificate(cert) = resource.as_ref() else { panic!("{resource:?}") };
    assert_eq!((cert.chain.clone(), cert.key.as_slice()), (vec![vec![1, 2, 3]; 2], &b"private key"[..]));
    let host = Host::parse("app.gw.example").unwrap();
    let covered = host.clone();
    assert!(write(&store, move |tx| coverage::covers(tx, &covered)).await);

    let version = changed[0].version;
    let id = cert.id.clone();
    write(&store, move |tx| mark_dropped(tx, &id)).await;
    let gone = changes_after(&store, version, 1).await.unwrap();
    assert_eq!(gone[0].change, Change::Remove { at_once: false });
    assert!(!write(&store, move |tx| coverage::covers(tx, &host)).await);
    assert!(write(&store, |tx| list(tx)).await.is_empty());
}

#[tokio::test]
async fn keys_are_sealed_and_another_secret_key_is_a_clear_error() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    write(&store, |tx| put(tx, &issued("gw.example", &["gw.example"]), &key(1))).await;
    let error = changes_after(&store, 0, 2).await.unwrap_err().to_string();
    assert!(error.contains("gw.example") && error.contains("secret_key_file"), "{error}");
    drop(store);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(11).any(|window| window == b"private key"));
    }
}

#[tokio::test]
async fn the_internal_ca_is_not_on_the_feed() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    write(&store, |tx| {
        assert!(authority(tx, &key(1))?.is_none());
        let ca = InternalAuthority { certificate: PEM.into(), key: Zeroizing::new(vec![9]) };
        put_authority(tx, &ca, &key(1))
    })
    .await;
    let loaded = write(&store, |tx| authority(tx, &key(1))).await.unwrap();
    assert_eq!((loaded.certificate.as_str(), loaded.key.as_slice()), (PEM, &[9][..]));
    assert!(changes_after(&store, 0, 1).await.unwrap().is_empty());
    assert!(write(&store, |tx| list(tx)).await.is_empty());
}
