//! Batches of transactions, also when SQLite rolls a batch back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use prometheus_client::registry::Registry;
use tempfile::TempDir;

use super::*;
use crate::store::schema::{audit_requests, meta};
use crate::store::{Store, Tx};

fn store() -> (TempDir, Store) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("controlplane.db");
    let store = Store::open(&path, Metrics::register(&mut Registry::default())).unwrap();
    (dir, store)
}

fn insert_note(key: &'static str) -> impl FnOnce(&mut WriteTx<'_>) -> Result<(), StoreError> + Send {
    move |tx| {
        let row = (meta::key.eq(key), meta::value.eq("there"));
        diesel::insert_into(meta::table).values(row).execute(tx.conn)?;
        Ok(())
    }
}

/// Simulates a full disk: no page more than there are now, and a row that needs many.
fn exceed_page_limit(tx: &mut WriteTx<'_>) -> Result<(), StoreError> {
    tx.conn.batch_execute("PRAGMA max_page_count = 1")?;
    let row =
        (audit_requests::hash.eq("h"), audit_requests::evidence.eq(format!("\"{}\"", "x".repeat(300_000))));
    // This insert keeps no journal of its own, so that SQLite has to roll back the whole transaction.
    diesel::insert_or_ignore_into(audit_requests::table).values(row).execute(tx.conn)?;
    Ok(())
}

async fn notes(store: &Store) -> Vec<String> {
    let read = |tx: &mut Tx<'_>| {
        let notes = meta::table.filter(meta::value.eq("there")).select(meta::key).order(meta::key);
        Ok::<_, StoreError>(notes.load(tx.conn)?)
    };
    store.read("test", read).await.unwrap()
}

/// Makes the transactions that `then` queues run in one batch, by keeping the writer busy meanwhile.
async fn in_one_batch<T>(store: &Store, then: impl FnOnce() -> T) -> T {
    let (go, wait) = mpsc::channel::<()>();
    let (began, begun) = oneshot::channel();
    let busy = store.write("busy", move |_| {
        began.send(()).unwrap();
        wait.recv().unwrap();
        Ok::<_, StoreError>(())
    });
    begun.await.unwrap();
    let queued = then();
    go.send(()).unwrap();
    busy.await.unwrap();
    queued
}

#[tokio::test]
async fn a_batch_that_sqlite_rolled_back_has_no_effect() {
    let (_dir, store) = store();
    let on_commit_ran = Arc::new(AtomicU64::new(0));
    let insert_and_flag = {
        let on_commit_ran = Arc::clone(&on_commit_ran);
        move |tx: &mut WriteTx<'_>| {
            tx.on_commit(move || on_commit_ran.store(1, Ordering::SeqCst));
            insert_note("a")(tx)
        }
    };
    let queue = || {
        [
            Box::pin(store.write("a", insert_and_flag)) as WriteFuture,
            Box::pin(store.write("b", exceed_page_limit)),
            Box::pin(store.write("c", insert_note("c"))),
        ]
    };
    let [a, b, c] = in_one_batch(&store, queue).await;
    assert!(matches!(a.await, Err(StoreError::NotCommitted(_))));
    assert!(matches!(b.await, Err(StoreError::NotCommitted(_))));
    assert!(matches!(c.await, Err(StoreError::Interrupted)));
    assert_eq!(notes(&store).await, Vec::<String>::new());
    assert_eq!(on_commit_ran.load(Ordering::SeqCst), 0);

    let again = |tx: &mut WriteTx<'_>| {
        tx.conn.batch_execute("PRAGMA max_page_count = 4294967294")?;
        insert_note("d")(tx)
    };
    store.write("d", again).await.unwrap();
    assert_eq!(notes(&store).await, ["d"]);
}

type WriteFuture = std::pin::Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

#[tokio::test]
async fn on_commit_runs_in_order_before_the_reply_and_without_a_waiting_caller() {
    let (_dir, store) = store();
    let last = Arc::new(AtomicU64::new(0));
    let store_on_commit = |number: u64| {
        let last = Arc::clone(&last);
        move |tx: &mut WriteTx<'_>| {
            tx.on_commit(move || last.store(number, Ordering::SeqCst));
            Ok::<_, StoreError>(())
        }
    };
    let fails = {
        let insert_and_flag = store_on_commit(99);
        move |tx: &mut WriteTx<'_>| insert_and_flag(tx).and(Err::<(), _>(StoreError::Interrupted))
    };
    let (gone, refused, answered) = in_one_batch(&store, || {
        let gone = store.write("one", store_on_commit(1));
        drop(gone);
        (last.load(Ordering::SeqCst), store.write("two", fails), store.write("three", store_on_commit(3)))
    })
    .await;
    assert_eq!(gone, 0, "not before it is written");
    assert!(refused.await.is_err());
    answered.await.unwrap();
    assert_eq!(last.load(Ordering::SeqCst), 3);
    store.write("four", store_on_commit(4)).await.unwrap();
    assert_eq!(last.load(Ordering::SeqCst), 4);
    assert!(store.dry_run("five", store_on_commit(5)).await.is_ok());
    assert_eq!(last.load(Ordering::SeqCst), 4, "a dry run has no effect");
}
