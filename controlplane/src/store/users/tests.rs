//! Counts of routes, also after a migration; pages; ends of suspensions.

use diesel::connection::SimpleConnection;
use diesel::migration::Migration as _;
use diesel_migrations::MigrationHarness;
use prometheus_client::registry::Registry;
use tempfile::TempDir;

use super::*;
use crate::metrics::Metrics;
use crate::store::{Store, open};

const THIS: &str = "20261123000009";

fn store(path: &std::path::Path) -> Store {
    Store::open(path, Metrics::register(&mut Registry::default())).unwrap()
}

async fn found(store: &Store, user: &str) -> User {
    let user: KeyId = user.parse().unwrap();
    let found: Result<_, StoreError> = store.read("test", move |tx| find(tx, &user)).await;
    found.unwrap().unwrap()
}

async fn run(store: &Store, sql: &'static str) {
    let ran: Result<(), StoreError> = store.write("test", move |tx| Ok(tx.conn.batch_execute(sql)?)).await;
    ran.unwrap();
}

const ROUTES: &str = r#"
    INSERT INTO users (key_id, suspended, version, first_seen) VALUES ('a', 0, 1, 1000), ('b', 1, 1, 2000), ('c', 0, 1, 3000);
    INSERT INTO routes (id, owner, host, mode, backends, version, created_at, updated_at, reversed) VALUES
        ('1', 'a', 'a1.x', 'terminate', '["[400::1]:80","[400::2]:80"]', 1, 0, 0, 'x'),
        ('2', 'a', 'a2.x', 'terminate', '["[400::1]:80"]', 1, 0, 0, 'x'),
        ('3', 'b', 'b1.x', 'terminate', '["[400::1]:80"]', 1, 0, 0, 'x');
    INSERT INTO audit (at, caller, client, method, target, revision) VALUES
        (5000, 'admin.pub', '::1', 'admin.suspend', 'user/b', 1), (6000, 'admin.pub', '::1', 'admin.suspend', 'user/b', 1);
"#;

#[tokio::test]
async fn the_routes_in_an_older_database_are_counted() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("x.db");
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    let all = conn.pending_migrations(open::MIGRATIONS).unwrap();
    let older: Vec<_> = all.into_iter().filter(|one| *one.name().version().to_string() < *THIS).collect();
    conn.run_migrations(&older).unwrap();
    let older = ROUTES.replace("mode, backends", "mode, balance, backends");
    let older = older.replace("updated_at, reversed)", "updated_at)").replace(", 0, 0, 'x')", ", 0, 0)");
    conn.batch_execute(&older.replace("'terminate',", "'terminate', 'random',")).unwrap();
    drop(conn);

    let store = store(&path);
    let (a, b, c) = (found(&store, "a").await, found(&store, "b").await, found(&store, "c").await);
    assert_eq!(
        [(a.routes, a.backends), (b.routes, b.backends), (c.routes, c.backends)],
        [(2, 3), (1, 1), (0, 0)]
    );
    assert_eq!((a.suspension, a.quota), (None, OwnQuota::default()));
    let suspension = b.suspension.unwrap();
    assert_eq!(to_millis(suspension.since), 6000, "the time of the last suspension");
    assert_eq!((suspension.reason, suspension.until), (None, None));
}

#[tokio::test]
async fn counts_follow_inserted_changed_and_deleted_routes() {
    let dir = TempDir::new().unwrap();
    let store = store(&dir.path().join("x.db"));
    run(&store, ROUTES).await;
    for (sql, a, b) in [
        ("UPDATE routes SET host = 'other.x', backends = backends WHERE id = '1'", (2, 3), (1, 1)),
        (r#"UPDATE routes SET backends = '["[400::9]:80"]' WHERE id = '1'"#, (2, 2), (1, 1)),
        (
            r#"UPDATE routes SET options = '{"paths":[{"prefix":"/a","backends":["[400::9]:80","[400::8]:80"]},
                {"prefix":"/b"},{"prefix":"/c","backends":["[400::8]:80"]}]}' WHERE id = '1'"#,
            (2, 3),
            (1, 1),
        ),
        ("UPDATE routes SET options = '{}' WHERE id = '1'", (2, 2), (1, 1)),
        ("UPDATE routes SET owner = 'b' WHERE id = '2'", (1, 1), (2, 2)),
        ("DELETE FROM routes WHERE owner = 'a'", (0, 0), (2, 2)),
    ] {
        run(&store, sql).await;
        let (one, two) = (found(&store, "a").await, found(&store, "b").await);
        assert_eq!([(one.routes, one.backends), (two.routes, two.backends)], [a, b], "{sql}");
    }
}

#[tokio::test]
async fn pages_use_an_index() {
    let dir = TempDir::new().unwrap();
    let store = store(&dir.path().join("x.db"));
    run(&store, ROUTES).await;
    let plan = |sql: &'static str| {
        let store = store.clone();
        async move {
            let steps: Result<Vec<String>, StoreError> = store
                .read("test", move |tx| {
                    #[derive(QueryableByName)]
                    struct Step {
                        #[diesel(sql_type = diesel::sql_types::Text)]
                        detail: String,
                    }
                    let steps: Vec<Step> =
                        diesel::sql_query(format!("EXPLAIN QUERY PLAN {sql}")).load(tx.conn)?;
                    Ok(steps.into_iter().map(|step| step.detail).collect())
                })
                .await;
            steps.unwrap().join("; ")
        }
    };
    for (sql, index) in [
        ("SELECT * FROM users WHERE key_id > 'x' ORDER BY key_id LIMIT 9", "PRIMARY KEY"),
        (
            "SELECT * FROM users WHERE users.suspended = 1 AND key_id > 'x' ORDER BY key_id LIMIT 9",
            "users_suspended ",
        ),
        (
            "SELECT * FROM users WHERE suspended_until IS NOT NULL ORDER BY suspended_until LIMIT 1",
            "users_suspended_until",
        ),
        ("SELECT * FROM users WHERE quota_mutations IS NOT NULL", "users_quota_mutations"),
    ] {
        let plan = plan(sql).await;
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{sql}: {plan}");
    }
}
