//! Chained audit records and their requests.

use bytes::Bytes;
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use webgateway_proto::httpsig::{Message, PrivateKey, PublicKeys, candidates, sign};

use super::*;
use crate::metrics::Metrics;
use crate::store::Store;

fn evidence(body: &str) -> Arc<SignedRequest> {
    let key = PrivateKey::from_seed(&[1; 32]);
    let request = http::Request::post("https://gw.example/rpc");
    let mut request = request.body(Bytes::from(body.to_owned())).unwrap();
    sign(&mut request, &key, &"user1.pub".parse().unwrap(), 1_700_000_000, "n").unwrap();
    let presented = candidates(request.headers()).unwrap().remove(0).signature.unwrap();
    let message = Message { method: request.method(), uri: request.uri(), headers: request.headers() };
    let keys = PublicKeys::from(key.public());
    let evidence = Evidence::new(&presented.verify_any(&message, &keys).unwrap(), request.body());
    let nonce_check = NonceCheck::default();
    nonce_check.set(true);
    Arc::new(SignedRequest { evidence, nonce_check })
}

fn entry(target: &str, request: Option<&Arc<SignedRequest>>) -> AuditEntry {
    AuditEntry {
        at: OffsetDateTime::UNIX_EPOCH,
        caller: "user1.pub".into(),
        client: "400::1".into(),
        method: "routes.create",
        target: target.into(),
        before: None,
        after: Some(r#"{"z":1,"a":[2]}"#.into()),
        request: request.cloned(),
    }
}

#[tokio::test]
async fn records_are_chained_stored_and_exported_with_their_requests() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(&dir.path().join("a.db"), Metrics::register(&mut Registry::default())).unwrap();
    let call = r#"{"jsonrpc":"2.0","method":"routes.create","id":1}"#;
    let (one, two) = (evidence(call), evidence(&format!("[{call}]")));
    let by_itself = AuditEntry {
        caller: webgateway_proto::audit::GATEWAY.into(),
        method: "admin.unsuspend",
        before: Some(r#"{"until":"2026-01-01T00:00:00Z"}"#.into()),
        ..entry("d", None)
    };
    let entries = [entry("a", Some(&one)), entry("b", Some(&two)), entry("c", Some(&two)), by_itself];
    for entry in entries {
        store.write::<_, StoreError, _>("test", move |tx| insert(tx, &entry)).await.unwrap();
    }
    let exported = store.read("test", |tx| export(tx, 0, 100, 1 << 20)).await;
    let (records, requests): (Vec<AuditRecord>, BTreeMap<_, _>) = exported.unwrap();
    assert_eq!((records.len(), requests.len()), (4, 2), "a request is stored once");
    let mut previous = None;
    for record in &records {
        let request = record.request.as_ref().map(|hash| &requests[hash]);
        assert_eq!(record.check(previous.as_deref(), request), Ok(()), "{record:?}");
        previous.clone_from(&record.hash);
    }
    let small: Result<_, StoreError> = store.read("test", |tx| export(tx, 0, 100, 1)).await;
    assert_eq!(small.unwrap().0.len(), 1, "never none");
    let next: Result<_, StoreError> = store.read("test", |tx| export(tx, 2, 100, 1)).await;
    assert_eq!(next.unwrap().0.iter().map(|record| record.id).collect::<Vec<_>>(), [3, 4]);

    let changed = store.write::<_, StoreError, _>("test", |tx| {
        diesel::update(audit::table.find(2)).set(audit::client.eq("400::2")).execute(tx.conn)?;
        Ok(())
    });
    changed.await.unwrap();
    let (records, requests) =
        store.read::<_, StoreError, _>("test", |tx| export(tx, 0, 9, 1 << 20)).await.unwrap();
    let check = |at: usize| {
        let previous = records[at - 1].hash.as_deref();
        records[at].check(previous, records[at].request.as_ref().map(|hash| &requests[hash]))
    };
    assert_eq!(check(1), Err(webgateway_proto::audit::AuditChainError::Hash));
    assert_eq!(check(2), Ok(()), "the next link uses the original hash");
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(&dir.path().join("a.db"), Metrics::register(&mut Registry::default())).unwrap();
    for n in 0..6 {
        let mut entry = entry(if n % 2 == 0 { "even" } else { "odd" }, None);
        entry.caller = format!("user{}.pub", n % 3);
        store.write::<_, StoreError, _>("test", move |tx| insert(tx, &entry)).await.unwrap();
    }
    let list = |filter: AuditFilter, before, limit| {
        let store = store.clone();
        async move {
            let found =
                store.read::<_, StoreError, _>("test", move |tx| newest(tx, &filter, before, limit)).await;
            found.unwrap().into_iter().map(|record| record.id).collect::<Vec<_>>()
        }
    };
    assert_eq!(list(AuditFilter::default(), None, 4).await, [6, 5, 4, 3]);
    assert_eq!(list(AuditFilter::default(), Some(3), 4).await, [2, 1]);
    let even = AuditFilter { target: Some("even".into()), ..AuditFilter::default() };
    assert_eq!(list(even, None, 9).await, [5, 3, 1]);
    let zero = AuditFilter { caller: Some("user0.pub".into()), ..AuditFilter::default() };
    assert_eq!(list(zero, None, 9).await, [4, 1]);
}
