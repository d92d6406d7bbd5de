//! The store over real SQLite files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use webgateway_proto::model::{Backends, Balance, Destination, Host, KeyId, Mode, Prefixes, Route, RouteId};

use super::*;
use crate::clock::Clock;

fn metrics() -> Metrics {
    Metrics::register(&mut Registry::default())
}

fn fresh() -> (TempDir, std::path::PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("controlplane.db");
    (dir, path)
}

fn open(path: &Path) -> Result<Store, OpenError> {
    Store::open(path, metrics())
}

fn route(host: &str, version: u64) -> Route {
    let now = Clock::system().now();
    let backends = Backends::parse(&["[400::1]:80", "[400::2]:80"], &Prefixes::default()).unwrap();
    Route {
        id: RouteId::generate(),
        owner: "user1.pub".parse().unwrap(),
        host: Host::parse(host).unwrap(),
        destination: Destination {
            mode: Mode::Passthrough,
            balance: Balance::Random,
            backends,
            health: None,
        },
        version,
        created_at: now,
        updated_at: now,
    }
}

async fn add(store: &Store, host: &str) -> Route {
    let host = host.to_owned();
    let added: Result<Route, StoreError> = store
        .write("test", move |tx| {
            let route = route(&host, tx.revise()?);
            users::ensure(tx, &route.owner, route.created_at)?;
            routes::insert(tx, &route)?;
            Ok(route)
        })
        .await;
    added.unwrap()
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let (_dir, path) = fresh();
    let store = open(&path).unwrap();
    let changed = store.changed();
    let before = *changed.borrow();
    let route = add(&store, "a.example").await;
    assert_eq!(*changed.borrow(), before + 1);
    assert_eq!(route.version, before + 1);
    drop(store);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let store = open(&path).unwrap();
    assert_eq!(*store.changed().borrow(), route.version);
    let id = route.id;
    let found: Result<_, StoreError> = store.read("test", move |tx| routes::find(tx, id)).await;
    assert_eq!(found.unwrap(), Some(route));
}

#[tokio::test]
async fn what_fails_leaves_nothing() {
    let (_dir, path) = fresh();
    let store = open(&path).unwrap();
    let before = *store.changed().borrow();
    let failed: Result<(), StoreError> = store
        .write("test", |tx| {
            let route = route("a.example", tx.revise()?);
            users::ensure(tx, &route.owner, route.created_at)?;
            routes::insert(tx, &route)?;
            Err(StoreError::Interrupted)
        })
        .await;
    assert!(matches!(failed, Err(StoreError::Interrupted)));
    let left: Result<_, StoreError> =
        store.read("test", |tx| Ok((routes::list(tx, None)?.len(), tx.revision()?))).await;
    assert_eq!(left.unwrap(), (0, before));
    assert_eq!(*store.changed().borrow(), before);
}

#[tokio::test]
async fn a_panic_in_a_transaction_costs_that_transaction_only() {
    let (_dir, path) = fresh();
    let store = open(&path).unwrap();
    let panicked: Result<(), StoreError> = store
        .write("test", |tx| {
            tx.revise()?;
            panic!("on purpose")
        })
        .await;
    assert!(matches!(panicked, Err(StoreError::Interrupted)));
    add(&store, "a.example").await;
}

#[tokio::test]
async fn readers_cannot_write() {
    let (_dir, path) = fresh();
    let store = open(&path).unwrap();
    let written: Result<(), StoreError> =
        store.read("test", |tx| Ok(tx.conn.batch_execute("DELETE FROM meta")?)).await;
    assert!(matches!(written, Err(StoreError::Database(_))));
}

#[tokio::test]
async fn a_deleted_route_leaves_a_tombstone_until_it_lives_again() {
    let (_dir, path) = fresh();
    let store = open(&path).unwrap();
    let route = add(&store, "a.example").await;
    let id = route.id;
    let tombstones = |tx: &mut Tx<'_>| -> Result<Vec<(String, i64)>, StoreError> {
        use schema::tombstones::{route_id, table, version};
        Ok(table.select((route_id, version)).load(tx.conn)?)
    };
    let deleted: Result<_, StoreError> = store
        .write("test", move |tx| {
            let version = tx.revise()?;
            routes::delete(tx, id, version, time::OffsetDateTime::UNIX_EPOCH)?;
            Ok((tombstones(tx)?, version))
        })
        .await;
    let (left, version) = deleted.unwrap();
    assert_eq!(left, [(id.to_string(), version.cast_signed())]);
    let revived: Result<_, StoreError> = store
        .write("test", move |tx| {
            routes::insert(tx, &route)?;
            tombstones(tx)
        })
        .await;
    assert!(revived.unwrap().is_empty());
}

#[tokio::test]
async fn certificate_names_follow_the_certificates() {
    let (_dir, path) = fresh();
    let store = open(&path).unwrap();
    let insert = |id: &str, names: &str| {
        format!(
            "INSERT INTO certificates (id, names, chain, sealed_key, issuer, not_before, not_after, version) \
             VALUES ('{id}', '{names}', '', x'00', 'test', 0, 0, 1) ON CONFLICT (id) DO UPDATE SET names = excluded.names;"
        )
    };
    let statements = [
        (insert("gw.example", r#"["gw.example","*.gw.example"]"#), [true, true, false]),
        (insert("gw.example", r#"["gw.example"]"#), [true, false, false]),
        (insert("x.org", r#"["*.y.gw.example"]"#), [true, false, true]),
        ("DELETE FROM certificates".to_owned(), [false, false, false]),
    ];
    for (statement, expected) in statements {
        let said: Result<_, StoreError> = store
            .write("test", move |tx| {
                tx.conn.batch_execute(&statement)?;
                let host = |text| Host::parse(text).unwrap();
                Ok([
                    coverage::covers(tx, &host("gw.example"))?,
                    coverage::covers(tx, &host("a.gw.example"))?,
                    coverage::covers(tx, &host("x.y.gw.example"))?,
                ])
            })
            .await;
        assert_eq!(said.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_nonce_counts_once() {
    let (_dir, path) = fresh();
    let store = Arc::new(open(&path).unwrap());
    let spend = |now: i64| {
        let store = Arc::clone(&store);
        async move {
            let key: KeyId = "user1.pub".parse().unwrap();
            let spent: Result<bool, StoreError> =
                store.write("test", move |tx| nonces::spend(tx, &key, "n", now, now + 10)).await;
            spent.unwrap()
        }
    };
    assert!(spend(100).await);
    assert!(!spend(110).await);
    assert!(spend(111).await);
}

#[test]
fn a_second_process_is_refused() {
    let (_dir, path) = fresh();
    let store = open(&path).unwrap();
    assert!(matches!(open(&path), Err(OpenError::Locked(_))));
    drop(store);
    open(&path).unwrap();
}

#[test]
fn other_files_are_refused_and_left_as_they_are() {
    let (_dir, path) = fresh();
    let text = b"certainly not a database";
    fs::write(&path, text).unwrap();
    assert!(matches!(open(&path), Err(OpenError::NotADatabase(_))));
    assert_eq!(fs::read(&path).unwrap(), text);

    let (_dir, path) = fresh();
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute("CREATE TABLE theirs (x)").unwrap();
    drop(conn);
    let before = fs::read(&path).unwrap();
    assert!(matches!(open(&path), Err(OpenError::Foreign(_))));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_damaged_database_is_refused_and_left_as_it_is() {
    let (_dir, path) = fresh();
    drop(open(&path).unwrap());
    let mut bytes = fs::read(&path).unwrap();
    for byte in &mut bytes[4096..12288] {
        *byte = 0xa5;
    }
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(open(&path), Err(OpenError::Corrupt { .. })));
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_newer_database_is_refused_and_left_as_it_is() {
    let (_dir, path) = fresh();
    drop(open(&path).unwrap());
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('29991231000000')").unwrap();
    conn.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(conn);
    let before = fs::read(&path).unwrap();
    let refused = open(&path).unwrap_err();
    assert!(
        matches!(&refused, OpenError::Newer { migration, .. } if migration == "29991231000000"),
        "{refused}"
    );
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn an_unwritable_place_is_said() {
    let dir = TempDir::new().unwrap();
    for path in [dir.path().join("missing/x.db"), "/proc/x.db".into(), dir.path().to_owned()] {
        let refused = open(&path).unwrap_err();
        assert!(matches!(refused, OpenError::Unwritable { .. }), "{path:?}: {refused}");
    }
}

/// A database from before the first migration of this build stands for any older one.
#[test]
fn an_older_database_is_copied_before_it_is_migrated() {
    let (_dir, path) = fresh();
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute(
        "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL, run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);
         CREATE TABLE old (x); INSERT INTO old VALUES (42);",
    )
    .unwrap();
    drop(conn);
    drop(open(&path).unwrap());
    let copy = path.with_file_name("controlplane.db.before-20261123000000");
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let mut conn = SqliteConnection::establish(copy.to_str().unwrap()).unwrap();
    let kept: i32 =
        diesel::dsl::sql::<diesel::sql_types::Integer>("SELECT x FROM old").get_result(&mut conn).unwrap();
    assert_eq!(kept, 42);
}
