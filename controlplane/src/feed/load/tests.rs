//! Tests of the loader with a real store.

use std::path::Path;

use prometheus_client::registry::Registry;
use tempfile::TempDir;
use time::OffsetDateTime;
use webgateway_process::Tasks;
use webgateway_proto::feed::FeedVersion;
use webgateway_proto::model::{Backends, Host, Prefixes, Route, RouteId};

use super::*;
use crate::metrics::Metrics;
use crate::store::{routes, users};

fn open(folder: &Path) -> Store {
    Store::open(&folder.join("controlplane.db"), Metrics::register(&mut Registry::default())).unwrap()
}

fn loader(store: &Store, allowed: &str) -> Loader {
    Loader {
        store: store.clone(),
        key: Arc::new(SecretKey::new(&[1; 32]).unwrap()),
        settings: Settings {
            base_domain: Host::parse("gw.example").unwrap(),
            allowed_backends: Prefixes::new(vec![allowed.parse().unwrap()]),
            listeners: vec![],
        },
        route_limits: crate::config::RouteLimits::default(),
        listeners: GatewayListeners::default(),
        challenges: Challenges::new(store.clone()),
        clock: Clock::from_fn(|| OffsetDateTime::UNIX_EPOCH + time::Duration::days(100)),
        delay: Duration::from_millis(5),
    }
}

async fn create(store: &Store, host: String) -> u64 {
    let created: Result<u64, StoreError> = store
        .write("test", move |tx| {
            let now = OffsetDateTime::UNIX_EPOCH;
            let backends = Backends::parse(&["[400::1]:80"], &Prefixes::default()).unwrap();
            let route = Route {
                id: RouteId::generate(),
                owner: "u1.pub".parse().unwrap(),
                host: Host::parse(&host).unwrap(),
                destination: backends.into(),
                version: tx.revise()?,
                created_at: now,
                updated_at: now,
            };
            users::ensure(tx, &route.owner, now)?;
            routes::insert(tx, &route, true)?;
            Ok(route.version)
        })
        .await;
    created.unwrap()
}

#[tokio::test]
async fn changes_are_batched_and_published() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let loader = loader(&store, "400::/7");
    let catalog = loader.load().await.unwrap();
    assert_eq!(catalog.since(0).count(), 1, "the settings");
    let tasks = Tasks::new(Stop::new());
    let (sender, mut receiver) = watch::channel(catalog);
    tasks.essential("catalog", loader.follow(sender, tasks.stop().clone()));
    let mut last = 0;
    for i in 0..20 {
        last = create(&store, format!("r{i}.example")).await;
    }
    let catalog = receiver.wait_for(|catalog| catalog.version() >= last).await.unwrap().clone();
    assert_eq!(catalog.since(0).count(), 21);
    tasks.stop().begin();
    tasks.run_until_stopped(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test]
async fn narrower_settings_remove_routes_and_require_full_batches() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    create(&store, "a.example".into()).await;
    let wide = loader(&store, "400::/7").load().await.unwrap();
    let puts = |catalog: &Catalog| catalog.since(0).filter(|(_, c)| matches!(c, Change::Put(_))).count();
    assert_eq!(puts(&wide), 2);
    let again = loader(&store, "400::/7").load().await.unwrap();
    assert!(again.can_diff_from(&wide.held()), "a restart does not cause a full batch");

    let narrow = loader(&store, "500::/16").load().await.unwrap();
    assert_eq!(puts(&narrow), 1, "the settings");
    assert!(!narrow.can_diff_from(&wide.held()));
}

#[tokio::test]
async fn a_lowered_bound_reduces_options_and_requires_a_full_batch() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    create(&store, "a.example".into()).await;
    let mut loader = loader(&store, "400::/7");
    let free = loader.load().await.unwrap();
    loader.route_limits.max_body = Some(1024.try_into().unwrap());
    let bound = loader.load().await.unwrap();
    assert!(!bound.can_diff_from(&free.held()));
    let max_bodies = |catalog: &Catalog| {
        let routes = catalog.since(0).filter_map(|(_, change)| match change {
            Change::Put(resource) => match resource.as_ref() {
                Resource::Route(route) => Some(route.destination.options.max_body.map(u64::from)),
                _ => None,
            },
            Change::Remove { .. } => None,
        });
        routes.collect::<Vec<_>>()
    };
    assert_eq!((max_bodies(&free), max_bodies(&bound)), (vec![None], vec![Some(1024)]));
    assert!(loader.load().await.unwrap().can_diff_from(&bound.held()), "a restart changes nothing");
}

#[tokio::test]
async fn old_deletions_are_forgotten_and_nodes_that_missed_them_need_a_full_batch() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    create(&store, "a.example".into()).await;
    let before = loader(&store, "400::/7").load().await.unwrap().held();
    let delete = |day: i64| {
        let now = OffsetDateTime::UNIX_EPOCH + time::Duration::days(day);
        let deleted = store.write::<_, StoreError, _>("test", move |tx| {
            let version = tx.revise()?;
            routes::delete(tx, RouteId::generate(), version, now)?;
            Ok(version)
        });
        async { deleted.await.unwrap() }
    };
    delete(99).await;
    assert!(loader(&store, "400::/7").load().await.unwrap().can_diff_from(&before));
    let old = delete(69).await;
    let catalog = loader(&store, "400::/7").load().await.unwrap();
    assert!(!catalog.can_diff_from(&before));
    assert!(catalog.can_diff_from(&FeedVersion { version: old, ..before }));
}

#[tokio::test]
async fn changed_listeners_are_published_as_a_difference() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    create(&store, "a.example".into()).await;
    let loader = loader(&store, "400::/7");
    let listeners = loader.listeners.clone();
    let catalog = loader.load().await.unwrap();
    let (before, tasks) = (catalog.held(), Tasks::new(Stop::new()));
    let (sender, mut receiver) = watch::channel(catalog);
    tasks.essential("catalog", loader.follow(sender, tasks.stop().clone()));
    let addresses = ["[400::1]:443", "[::]:443", "127.0.0.1:9180", "192.0.2.1:443"];
    let addresses = addresses.map(|address| address.parse().unwrap()).to_vec();
    listeners.set_node("n", ProcessListeners { stack: "s".into(), addresses });
    let catalog = receiver.wait_for(|catalog| catalog.version() > before.version).await.unwrap().clone();
    let changes: Vec<_> = catalog.since(before.version).collect();
    let [(ResourceName::Settings, Change::Put(settings))] = changes[..] else { panic!("{}", changes.len()) };
    let Resource::Settings(settings) = settings.as_ref() else { panic!("no settings") };
    let at: Vec<_> =
        settings.listeners.iter().flat_map(|process| &process.addresses).map(ToString::to_string).collect();
    assert_eq!(at, ["[400::1]:443", "[::]:443"], "only addresses that a backend may have");
    tasks.stop().begin();
    tasks.run_until_stopped(Duration::from_secs(10)).await.unwrap();
    // After a restart no node has reported its listeners yet.
    let again = self::loader(&store, "400::/7").load().await.unwrap();
    assert!(again.can_diff_from(&before) && again.can_diff_from(&catalog.held()));
    assert_eq!(again.since(catalog.version()).count(), 1, "the settings alone");
}
