//! The column of route options and the migration that introduced it.

use diesel::prelude::*;
use diesel_migrations::MigrationHarness as _;
use webgateway_proto::model::{Balance, HealthCheck, RouteOptions};

use super::*;
use crate::store::open::MIGRATIONS;

/// Creates the tables as before the migration, with a route of each kind, and migrates them.
fn migrated() -> SqliteConnection {
    let mut conn = SqliteConnection::establish(":memory:").unwrap();
    for migration in conn.pending_migrations(MIGRATIONS).unwrap() {
        if migration.name().version().to_string() == "20261126000010" {
            break;
        }
        conn.run_migration(&*migration).unwrap();
    }
    conn.batch_execute(
        r#"INSERT INTO users (key_id, suspended, version, first_seen) VALUES ('user1.pub', 0, 1, 0);
           INSERT INTO routes (id, owner, host, mode, balance, backends, version, created_at, updated_at, health) VALUES
           ('01999999-9999-7999-8999-000000000001', 'user1.pub', 'a.example', 'terminate', 'random', '["[400::1]:80"]', 2, 0, 0,
            '{"path":"/up","interval":60,"rise":1,"fall":5}'),
           ('01999999-9999-7999-8999-000000000002', 'user1.pub', 'b.example', 'passthrough', 'round_robin', '["[400::1]:80"]', 3, 0, 0, NULL);"#,
    )
    .unwrap();
    conn.run_pending_migrations(MIGRATIONS).unwrap();
    conn
}

#[test]
fn the_migration_moves_balance_and_health_into_the_options() {
    let mut conn = migrated();
    let options: Vec<String> = crate::store::schema::routes::table
        .order(crate::store::schema::routes::id)
        .select(crate::store::schema::routes::options)
        .load(&mut conn)
        .unwrap();
    let read = |text: &String| serde_json::from_str::<RouteOptions>(text).unwrap();
    let health = HealthCheck::new(Some("/up"), std::time::Duration::from_secs(60), 1, 5).unwrap();
    let first = RouteOptions { balance: Balance::Random, health: Some(health), ..RouteOptions::default() };
    assert_eq!(options.iter().map(read).collect::<Vec<_>>(), [first, RouteOptions::default()]);

    // Claims come after the options.
    for _ in 0..2 {
        conn.revert_last_migration(MIGRATIONS).unwrap();
    }
    let query =
        "SELECT count(*) AS n FROM routes WHERE balance = 'random' AND json_extract(health, '$.path') = '/up'
                OR balance = 'round_robin' AND health IS NULL";
    let rows: i64 = diesel::dsl::sql::<diesel::sql_types::BigInt>(query).get_result(&mut conn).unwrap();
    assert_eq!(rows, 2);
}

#[tokio::test]
async fn an_unknown_option_is_an_error() {
    let (_dir, path) = fresh();
    let store = open(&path).unwrap();
    let id = add(&store, "a.example").await.id;
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute(r#"UPDATE routes SET options = '{"teleport":true}'"#).unwrap();
    let found: Result<_, StoreError> = store.read("test", move |tx| routes::find(tx, id)).await;
    assert!(matches!(&found, Err(StoreError::Damaged { .. })), "{found:?}");
    assert!(found.unwrap_err().to_string().contains("teleport"));
}
