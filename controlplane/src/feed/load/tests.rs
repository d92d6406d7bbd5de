//! The catalog follows a real store.

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
            routes::insert(tx, &route)?;
            Ok(route.version)
        })
        .await;
    created.unwrap()
}

#[tokio::test]
async fn changes_are_gathered_and_published() {
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
async fn narrower_settings_take_routes_away_and_every_node_learns_of_it() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    create(&store, "a.example".into()).await;
    let wide = loader(&store, "400::/7").load().await.unwrap();
    let puts = |catalog: &Catalog| catalog.since(0).filter(|(_, c)| matches!(c, Change::Put(_))).count();
    assert_eq!(puts(&wide), 2);
    let again = loader(&store, "400::/7").load().await.unwrap();
    assert!(again.knows(&wide.held()), "a restart alone costs a node nothing");

    let narrow = loader(&store, "500::/16").load().await.unwrap();
    assert_eq!(puts(&narrow), 1, "the settings");
    assert!(!narrow.knows(&wide.held()));
}

#[tokio::test]
async fn a_deletion_is_forgotten_in_time_and_a_node_that_missed_it_is_told_everything() {
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
    assert!(loader(&store, "400::/7").load().await.unwrap().knows(&before));
    let old = delete(69).await;
    let catalog = loader(&store, "400::/7").load().await.unwrap();
    assert!(!catalog.knows(&before));
    assert!(catalog.knows(&FeedVersion { version: old, ..before }));
}

#[tokio::test]
async fn other_listeners_are_told_as_a_difference_and_cost_nothing_else() {
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
    listeners.learn("n", ProcessListeners { stack: "s".into(), addresses });
    let catalog = receiver.wait_for(|catalog| catalog.version() > before.version).await.unwrap().clone();
    let told: Vec<_> = catalog.since(before.version).collect();
    let [(ResourceName::Settings, Change::Put(settings))] = told[..] else { panic!("{}", told.len()) };
    let Resource::Settings(settings) = settings.as_ref() else { panic!("no settings") };
    let at: Vec<_> =
        settings.listeners.iter().flat_map(|of| &of.addresses).map(ToString::to_string).collect();
    assert_eq!(at, ["[400::1]:443", "[::]:443"], "where a backend may be");
    tasks.stop().begin();
    tasks.run_until_stopped(Duration::from_secs(10)).await.unwrap();
    // After a restart no node has said anything yet.
    let again = self::loader(&store, "400::/7").load().await.unwrap();
    assert!(again.knows(&before) && again.knows(&catalog.held()));
    assert_eq!(again.since(catalog.version()).count(), 1, "the settings alone");
}
