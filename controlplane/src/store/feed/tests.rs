//! The changes for nodes, from a real database.

use std::path::Path;

use prometheus_client::registry::Registry;
use tempfile::TempDir;
use time::OffsetDateTime;
use webgateway_proto::model::{Backends, Host, KeyId, Prefixes, Route, RouteId};

use super::*;
use crate::metrics::Metrics;
use crate::store::{Store, routes, users};

fn open(folder: &Path) -> Store {
    Store::open(&folder.join("controlplane.db"), Metrics::register(&mut Registry::default())).unwrap()
}

fn key() -> SecretKey {
    SecretKey::new(&[1; 32]).unwrap()
}

async fn write<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&mut WriteTx<'_>) -> Result<T, StoreError> + Send + 'static,
) -> T {
    store.write("test", work).await.unwrap()
}

async fn since(store: &Store, version: u64) -> ChangeSet {
    let read = move |tx: &mut Tx<'_>| changes_since(tx, version, &key());
    store.read::<_, StoreError, _>("test", read).await.unwrap()
}

async fn create(store: &Store, owner: &'static str, host: &'static str) -> RouteId {
    write(store, move |tx| {
        let now = OffsetDateTime::UNIX_EPOCH;
        let backends = Backends::parse(&["[400::1]:80"], &Prefixes::default()).unwrap();
        let route = Route {
            id: RouteId::generate(),
            owner: owner.parse().unwrap(),
            host: Host::parse(host).unwrap(),
            destination: backends.into(),
            version: tx.revise()?,
            created_at: now,
            updated_at: now,
        };
        if users::find(tx, &route.owner)?.is_none() {
            users::ensure(tx, &route.owner, now)?;
        }
        routes::insert(tx, &route, true)?;
        Ok(route.id)
    })
    .await
}

async fn suspend(store: &Store, user: &'static str, suspended: bool) {
    let user: KeyId = user.parse().unwrap();
    write(store, move |tx| users::set_suspended(tx, &user, suspended)).await;
}

fn summary(changes: &ChangeSet) -> Vec<(ResourceName, u64, Option<bool>)> {
    let one = |changed: &ResourceChange| match &changed.change {
        Change::Put(resource) => {
            assert_eq!(resource.name(), changed.name);
            (changed.name.clone(), changed.version, None)
        }
        Change::Remove { at_once } => (changed.name.clone(), changed.version, Some(*at_once)),
    };
    let mut summary: Vec<_> = changes.changed.iter().map(one).collect();
    summary.sort();
    summary
}

#[tokio::test]
async fn each_change_is_reported_once_with_its_version() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let start = *store.changed().borrow();
    let a = create(&store, "u1.pub", "a.example").await;
    let b = create(&store, "u2.pub", "b.example").await;
    let all = since(&store, 0).await;
    assert_eq!(all.version, start + 2);
    let (a_name, b_name) = (ResourceName::Route(a), ResourceName::Route(b));
    assert_eq!(summary(&all), [(a_name.clone(), start + 1, None), (b_name.clone(), start + 2, None)]);
    assert_eq!(summary(&since(&store, start + 1).await), [(b_name, start + 2, None)]);

    write(&store, move |tx| {
        let version = tx.revise()?;
        routes::delete(tx, a, version, OffsetDateTime::UNIX_EPOCH)
    })
    .await;
    assert_eq!(summary(&since(&store, start + 2).await), [(a_name, start + 3, Some(false))]);
    assert!(since(&store, start + 3).await.changed.is_empty());
}

#[tokio::test]
async fn routes_of_a_suspended_owner_are_removed_and_stay_so_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let mine = ResourceName::Route(create(&store, "u1.pub", "a.example").await);
    let other = ResourceName::Route(create(&store, "u2.pub", "b.example").await);
    let before = *store.changed().borrow();
    suspend(&store, "u1.pub", true).await;
    assert_eq!(summary(&since(&store, before).await), [(mine.clone(), before + 1, Some(true))]);

    drop(store);
    let store = open(dir.path());
    assert_eq!(
        summary(&since(&store, 0).await),
        [(mine.clone(), before + 1, Some(true)), (other, before, None)]
    );
    suspend(&store, "u1.pub", false).await;
    assert_eq!(summary(&since(&store, before + 1).await), [(mine, before + 2, None)]);
}

#[tokio::test]
async fn changed_settings_get_a_new_version() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let first = write(&store, |tx| record(tx, SETTINGS, "a")).await;
    assert_eq!(write(&store, |tx| record(tx, SETTINGS, "a")).await, first);
    create(&store, "u1.pub", "a.example").await;
    let second = write(&store, |tx| record(tx, SETTINGS, "b")).await;
    assert_eq!(second, first + 2);
    drop(store);
    assert_eq!(write(&open(dir.path()), |tx| record(tx, SETTINGS, "b")).await, second);
}
