//! Tests of the migration to claims, and of what nodes and certificates see of routes that do not hold their hosts.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_migrations::MigrationHarness;
use time::OffsetDateTime;
use webgateway_proto::feed::ResourceName;

use super::*;
use crate::store::change::Change;
use crate::store::open::MIGRATIONS;
use crate::store::{certificates, feed, tenure};

/// The version of the migration, as Diesel writes it.
const THIS: &str = "20261126000020";

#[tokio::test]
async fn the_routes_of_an_older_database_hold_their_hosts() {
    let (_dir, path) = fresh();
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    let all = conn.pending_migrations(MIGRATIONS).unwrap();
    let older: Vec<_> = all.into_iter().filter(|one| *one.name().version().to_string() < *THIS).collect();
    conn.run_migrations(&older).unwrap();
    conn.batch_execute(
        "INSERT INTO users (key_id, suspended, version, first_seen) VALUES ('a.pub', 0, 1, 0), ('b.pub', 0, 1, 0);
         INSERT INTO routes (id, owner, host, mode, backends, version, created_at, updated_at, options) VALUES
            ('01999999-9999-7999-8999-000000000001', 'a.pub', 'b.app.gw.example', 'terminate', '[\"[400::1]:80\"]', 1, 0, 0, '{\"balance\":\"random\"}'),
            ('01999999-9999-7999-8999-000000000002', 'b.pub', 'app.gw.example', 'passthrough', '[\"[400::1]:80\"]', 1, 0, 0, '{}');",
    )
    .unwrap();
    drop(conn);
    let store = open(&path).unwrap();
    let read = store.read("test", |tx| -> Result<_, StoreError> {
        let host: Host = "app.gw.example".parse().unwrap();
        let deep = host.child("b").unwrap();
        let base = "gw.example".parse().unwrap();
        let owner = "b.pub".parse().unwrap();
        let below = tenure::below(tx, &host, &base, &owner)?;
        Ok((routes::find_by_host(tx, &deep)?, below, tenure::above(tx, &deep, &base)?))
    });
    let (deep, below, above) = read.await.unwrap();
    assert_eq!(deep, below);
    assert_eq!(deep.unwrap().owner.as_str(), "a.pub");
    assert_eq!(above.iter().map(|route| route.host.as_str()).collect::<Vec<_>>(), ["app.gw.example"]);
    drop(store);
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    let counts = "SELECT sum(route_count) FROM users";
    let count: Option<i64> =
        diesel::dsl::sql::<diesel::sql_types::Nullable<diesel::sql_types::BigInt>>(counts)
            .get_result(&mut conn)
            .unwrap();
    assert_eq!(count, Some(2), "the triggers counted no route twice");
    conn.revert_last_migration(MIGRATIONS).unwrap();
    conn.run_pending_migrations(MIGRATIONS).unwrap();
}

#[tokio::test]
async fn one_route_at_most_holds_a_host_and_only_that_one_is_distributed() {
    let (_dir, path) = fresh();
    let store = open(&path).unwrap();
    let holder = add(&store, "shop.example.org").await;
    let claim = Route { id: RouteId::generate(), owner: "other.pub".parse().unwrap(), ..holder.clone() };
    let rival = claim.clone();
    let write = store.write("test", move |tx| -> Result<(), StoreError> {
        users::ensure(tx, &rival.owner, OffsetDateTime::UNIX_EPOCH)?;
        let version = tx.revise()?;
        routes::insert(tx, &Route { version, ..rival }, false)
    });
    write.await.unwrap();
    let twice: Result<(), StoreError> = store
        .write("test", {
            let id = claim.id;
            move |tx| {
                let version = tx.revise()?;
                tenure::set_held(tx, id, true, version, OffsetDateTime::UNIX_EPOCH)
            }
        })
        .await;
    assert!(twice.is_err(), "two routes cannot hold one host");
    let seen = async |store: &Store| {
        let key = SecretKey::new(&[1; 32]).unwrap();
        let read = store.read("test", move |tx| -> Result<_, StoreError> {
            let base = "gw.example".parse().unwrap();
            let hosts = certificates::terminated_hosts(tx, 0, &base)?.len();
            let changes = feed::changes_since(tx, 0, &key)?.changed;
            let put = |change: &Change| matches!(change, Change::Put(_));
            let put = changes.iter().filter(|one| put(&one.change)).map(|one| one.name.clone());
            Ok((put.collect::<Vec<_>>(), hosts))
        });
        read.await.unwrap()
    };
    assert_eq!(seen(&store).await, (vec![ResourceName::Route(holder.id)], 1));
    let (loser, winner) = (holder.id, claim.id);
    let swap = store.write("test", move |tx| -> Result<(), StoreError> {
        let version = tx.revise()?;
        tenure::set_held(tx, loser, false, version, OffsetDateTime::UNIX_EPOCH)?;
        tenure::set_held(tx, winner, true, version, OffsetDateTime::UNIX_EPOCH)
    });
    swap.await.unwrap();
    assert_eq!(seen(&store).await, (vec![ResourceName::Route(winner)], 1));
}
