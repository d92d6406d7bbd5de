//! The store over real SQLite files.

mod claims;
mod route_options;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use webgateway_proto::model::{
    Backends, Destination, Host, KeyId, Mode, Prefixes, Route, RouteId, RouteOptions,
};
use webgateway_seal::SecretKey;

use super::nonces::{NonceCheck, NonceUse};
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
        destination: Destination::new(Mode::Terminate, backends, RouteOptions::sample()).unwrap(),
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
            routes::insert(tx, &route, true)?;
            Ok(route)
        })
        .await;
    added.unwrap()
}

#[tokio::test]
async fn committed_changes_survive_a_restart() {
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
async fn a_failed_transaction_leaves_no_change() {
    let (_dir, path) = fresh();
    let store = open(&path).unwrap();
    let before = *store.changed().borrow();
    let failed: Result<(), StoreError> = store
        .write("test", |tx| {
            let route = route("a.example", tx.revise()?);
            users::ensure(tx, &route.owner, route.created_at)?;
            routes::insert(tx, &route, true)?;
            Err(StoreError::Interrupted)
        })
        .await;
    assert!(matches!(failed, Err(StoreError::Interrupted)));
    let left: Result<_, StoreError> = store
        .read("test", |tx| {
            Ok((routes::page(tx, &routes::RouteFilter::default(), None, 1000)?.len(), tx.revision()?))
        })
        .await;
    assert_eq!(left.unwrap(), (0, before));
    assert_eq!(*store.changed().borrow(), before);
}

#[tokio::test]
async fn a_panic_affects_only_its_own_transaction() {
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
async fn transactions_of_a_batch_fail_independently() {
    let (_dir, path) = fresh();
    let store = open(&path).unwrap();
    let owner = add(&store, "first.example").await.owner;
    let write = |n: usize| {
        let (store, owner) = (store.clone(), owner.clone());
        async move {
            let work = move |tx: &mut WriteTx<'_>| {
                let route = Route { owner, ..route(&format!("r{n}.example"), tx.revise()?) };
                routes::insert(tx, &route, true)?;
                match n % 4 {
                    0 => Ok(route.version),
                    1 => Err(StoreError::Interrupted),
                    2 => panic!("on purpose"),
                    _ => {
                        routes::insert(tx, &route, true)?;
                        Ok(route.version)
                    }
                }
            };
            store.write("test", work).await
        }
    };
    let outcomes = futures_util::future::join_all((0..200).map(write)).await;
    let mut versions: Vec<u64> =
        outcomes.iter().filter_map(|outcome| outcome.as_ref().ok().copied()).collect();
    let in_order = versions.clone();
    versions.sort_unstable();
    versions.dedup();
    assert_eq!((versions.len(), &versions), (50, &in_order), "one version each, in the order of the calls");
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.is_ok(), n % 4 == 0, "{n}: {outcome:?}");
    }
    assert_eq!(*store.changed().borrow(), versions[49]);
    drop(store);
    let store = open(&path).unwrap();
    let found = store
        .read::<_, StoreError, _>("test", |tx| routes::page(tx, &routes::RouteFilter::default(), None, 1000))
        .await
        .unwrap();
    assert_eq!(found.len(), 51);
    assert!(
        found.iter().all(|route| route.host.as_str() == "first.example" || versions.contains(&route.version))
    );
}

/// Compares the cost of reading changes at the latest revision, when there are none, with that of reading everything.
#[tokio::test]
async fn changes_are_found_without_a_scan_of_all_rows() {
    let (_dir, path) = fresh();
    let store = open(&path).unwrap();
    let owner = add(&store, "first.example").await.owner;
    let fill = move |tx: &mut WriteTx<'_>| -> Result<u64, StoreError> {
        let sql = format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
             INSERT INTO routes (id, owner, host, mode, backends, version, created_at, updated_at, reversed) SELECT printf('00000000-0000-7000-8000-%012x', i), '{owner}', printf('h%d.example', i),
             'terminate', '[\"[400::1]:80\"]', i, 0, 0, printf('example.h%d', i) FROM n; UPDATE revision SET value = 20000"
        );
        tx.conn.batch_execute(&sql)?;
        tx.revision()
    };
    let now = store.write("test", fill).await.unwrap();
    let key = SecretKey::new(&[1; 32]).unwrap();
    let base: Host = "gw.example".parse().unwrap();
    let timed = move |tx: &mut Tx<'_>, version: u64| -> Result<[Duration; 2], StoreError> {
        let begun = Instant::now();
        let hosts = certificates::terminated_hosts(tx, version, &base)?.len();
        let first = begun.elapsed();
        let begun = Instant::now();
        let changed = feed::changes_since(tx, version, &key)?.changed.len();
        assert_eq!((hosts > 1, changed > 1), (version == 0, version == 0));
        Ok([first, begun.elapsed()])
    };
    let read = move |tx: &mut Tx<'_>| Ok::<_, StoreError>((timed(tx, 0)?, timed(tx, now)?, timed(tx, now)?));
    let (all, _, none) = store.read("test", read).await.unwrap();
    for (all, none) in all.into_iter().zip(none) {
        assert!(none * 20 < all, "{none:?} for nothing, {all:?} for all of 20,000");
    }
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
async fn a_deleted_route_leaves_a_tombstone_until_it_is_created_again() {
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
            routes::insert(tx, &route, true)?;
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
        let covered: Result<_, StoreError> = store
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
        assert_eq!(covered.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_nonce_is_accepted_once() {
    let (_dir, path) = fresh();
    let store = Arc::new(open(&path).unwrap());
    let spend = |now: i64| {
        let store = Arc::clone(&store);
        async move {
            let key_id: KeyId = "user1.pub".parse().unwrap();
            let used = NonceUse { key_id, nonce: "n".to_owned(), now, expires_at: now + 10 };
            let spend = move |tx: &mut WriteTx<'_>| nonces::spend(tx, &used, &NonceCheck::default());
            match store.write("test", spend).await {
                Ok(()) => true,
                Err(StoreError::Replayed) => false,
                Err(other) => panic!("{other}"),
            }
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
fn other_files_are_rejected_and_left_unchanged() {
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
fn a_damaged_database_is_rejected_and_left_unchanged() {
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
fn a_newer_database_is_rejected_and_left_unchanged() {
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
fn an_unwritable_path_is_reported() {
    let dir = TempDir::new().unwrap();
    for path in [dir.path().join("missing/x.db"), "/proc/x.db".into(), dir.path().to_owned()] {
        let refused = open(&path).unwrap_err();
        assert!(matches!(refused, OpenError::Unwritable { .. }), "{path:?}: {refused}");
    }
}

/// A database from before the first migration of this build represents any older one.
#[test]
fn an_older_database_is_backed_up_before_it_is_migrated() {
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
    let found: i32 =
        diesel::dsl::sql::<diesel::sql_types::Integer>("SELECT x FROM old").get_result(&mut conn).unwrap();
    assert_eq!(found, 42);
}

/// The options are set in .cargo/config.toml.
#[test]
fn sqlite_is_built_without_shared_locks_and_keeps_statements_prepared() {
    let mut conn = SqliteConnection::establish(":memory:").unwrap();
    let options = diesel::dsl::sql::<diesel::sql_types::Text>("PRAGMA compile_options");
    let options: Vec<String> = options.load(&mut conn).unwrap();
    let has = |option: &str| options.iter().any(|other| other == option);
    assert!(has("THREADSAFE=2") && has("DEFAULT_MEMSTATUS=0") && has("ENABLE_QPSG"), "{options:?}");
    assert!(!has("ENABLE_MEMORY_MANAGEMENT"), "{options:?}");
}
