//! Tests of challenges with a real store, including crashes.

use std::path::Path;

use prometheus_client::registry::Registry;
use proptest::prelude::*;
use tempfile::TempDir;
use webgateway_process::Tasks;
use webgateway_proto::feed::{ChallengeResponse, Settings};
use webgateway_proto::model::Prefixes;
use webgateway_seal::SecretKey;

use super::*;
use crate::domain::GatewayListeners;
use crate::feed::catalog::Catalog;
use crate::feed::diff::diff;
use crate::feed::load::Loader;
use crate::metrics::Metrics;

fn open(folder: &Path) -> Store {
    Store::open(&folder.join("controlplane.db"), Metrics::register(&mut Registry::default())).unwrap()
}

fn challenge(host: &str, token: &str) -> Challenge {
    let response =
        ChallengeResponse::Http { token: token.into(), key_authorization: format!("{token}.thumbprint") };
    Challenge { host: Host::parse(host).unwrap(), response }
}

/// A controlplane's feed without nodes.
struct Feed {
    challenges: Challenges,
    catalog: watch::Receiver<Catalog>,
    tasks: Tasks,
}

impl Feed {
    async fn start(folder: &Path) -> Self {
        let store = open(folder);
        let challenges = Challenges::new(store.clone());
        let loader = Loader {
            store,
            key: Arc::new(SecretKey::new(&[1; 32]).unwrap()),
            settings: Settings {
                base_domain: Host::parse("gw.example").unwrap(),
                allowed_backends: Prefixes::default(),
                listeners: vec![],
            },
            route_limits: crate::config::RouteLimits::default(),
            listeners: GatewayListeners::default(),
            challenges: challenges.clone(),
            clock: crate::clock::Clock::system(),
            delay: Duration::from_millis(1),
        };
        let (sender, catalog) = watch::channel(loader.load().await.unwrap());
        let tasks = Tasks::new(Stop::new());
        tasks.essential("catalog", loader.follow(sender, tasks.stop().clone()));
        tasks.essential("challenges", challenges.clone().follow(tasks.stop().clone()));
        Self { challenges, catalog, tasks }
    }

    async fn reach(&mut self, version: u64) -> Catalog {
        self.catalog.wait_for(|catalog| catalog.version() >= version).await.unwrap().clone()
    }

    /// Stops the tasks before the guards are dropped, so that nothing is withdrawn, as in a crash.
    async fn crash(self, guards: Vec<ChallengeGuard>) {
        self.tasks.stop().begin();
        self.tasks.run_until_stopped(Duration::from_secs(10)).await.unwrap();
        drop(guards);
    }
}

fn names(catalog: &Catalog) -> Vec<String> {
    let put = |(name, change): (&ResourceName, &Change)| match change {
        Change::Put(_) if *name != ResourceName::Settings => Some(name.to_string()),
        Change::Put(_) | Change::Remove { .. } => None,
    };
    catalog.since(0).filter_map(put).collect()
}

#[tokio::test]
async fn a_challenge_is_on_the_feed_as_long_as_its_guard_lives() {
    let dir = TempDir::new().unwrap();
    let mut feed = Feed::start(dir.path()).await;
    let before = feed.catalog.borrow().held();
    let guard = feed.challenges.publish(challenge("a.example", "t1"));
    let other = feed.challenges.publish(challenge("b.example", "t2"));
    let version = guard.version().await.unwrap().max(other.version().await.unwrap());
    assert!(version > before.version);
    let with = feed.reach(version).await;
    assert_eq!(names(&with).len(), 2);
    drop(guard);
    let without = feed.reach(version + 1).await;
    assert_eq!(names(&without), ["challenge/b.example"]);
    for from in [before, with.held()] {
        let batch = diff(&without, Some(&from));
        assert!(
            !batch.is_full() && batch.affects(&ResourceName::Challenge(Host::parse("a.example").unwrap()))
        );
    }
    drop(other);
    assert!(names(&feed.reach(version + 2).await).is_empty());
}

#[tokio::test]
async fn a_newer_challenge_replaces_an_older_one_of_the_same_host() {
    let dir = TempDir::new().unwrap();
    let mut feed = Feed::start(dir.path()).await;
    let first = feed.challenges.publish(challenge("a.example", "t1"));
    first.version().await.unwrap();
    let second = feed.challenges.publish(challenge("a.example", "t2"));
    assert_eq!(first.version().await, Err(SupersededError));
    let version = second.version().await.unwrap();
    drop(first);
    let catalog = feed.reach(version).await;
    let Some(Change::Put(put)) = catalog.change_of(&second.name()) else {
        panic!("the end of the first guard removed the challenge")
    };
    assert_eq!(**put, Resource::Challenge(challenge("a.example", "t2")));
}

#[tokio::test]
async fn a_crash_leaves_no_challenge_on_any_node() {
    let dir = TempDir::new().unwrap();
    let mut feed = Feed::start(dir.path()).await;
    let old = feed.catalog.borrow().held();
    let gone = feed.challenges.publish(challenge("gone.example", "t0"));
    let during = feed.reach(gone.version().await.unwrap()).await.held();
    drop(gone);
    feed.reach(during.version + 1).await;
    let guard = feed.challenges.publish(challenge("a.example", "t1"));
    let last = feed.reach(guard.version().await.unwrap()).await.held();
    feed.crash(vec![guard]).await;

    let feed = Feed::start(dir.path()).await;
    let catalog = feed.catalog.borrow().clone();
    assert!(names(&catalog).is_empty());
    let name = ResourceName::Challenge(Host::parse("a.example").unwrap());
    let batch = diff(&catalog, Some(&last));
    assert!(!batch.is_full() && batch.affects(&name), "a node that has it is told to drop it");
    for from in [old, during] {
        assert!(diff(&catalog, Some(&from)).is_full(), "a node that may have others gets all resources");
    }
    let now = catalog.held();
    feed.crash(Vec::new()).await;
    let feed = Feed::start(dir.path()).await;
    assert!(!diff(&feed.catalog.borrow(), Some(&now)).is_full(), "a restart does not cause a full batch");
}

/// An event in the life of the challenges of a few hosts.
#[derive(Debug, Clone)]
enum Step {
    Show(u8),
    Drop(u8),
    Publish,
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4_u8).prop_map(Step::Show),
        (0..4_u8).prop_map(Step::Drop),
        Just(Step::Publish),
        Just(Step::Read),
    ]
}

proptest! {
    #[test]
    fn the_catalog_converges_to_the_active_challenges(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let (mut state, mut revision) = (ChallengesState::default(), 0);
        let (mut catalog, mut read) = (BTreeMap::new(), 0);
        let host = |n: u8| Host::parse(&format!("h{n}.example")).unwrap();
        for step in steps.into_iter().chain([Step::Publish, Step::Read]) {
            match step {
                Step::Show(n) => {
                    state.serial += 1;
                    let token = state.serial.to_string();
                    let resource = Arc::new(Resource::Challenge(challenge(host(n).as_str(), &token)));
                    state.active.insert(host(n), ActiveChallenge { serial: state.serial, resource });
                }
                Step::Drop(n) => drop(state.active.remove(&host(n))),
                Step::Publish if state.is_behind() => {
                    revision += 1;
                    let active = state.active.clone();
                    state.record(&active, revision);
                    prop_assert!(!state.is_behind());
                }
                Step::Publish => {}
                Step::Read => {
                    for ResourceChange { name, version, change } in state.changes_between(read, revision) {
                        prop_assert!(version > read && version <= revision);
                        match change {
                            Change::Put(resource) => drop(catalog.insert(name, resource)),
                            Change::Remove { .. } => drop(catalog.remove(&name)),
                        }
                    }
                    read = revision;
                }
            }
        }
        let active: Vec<_> = state.active.values().map(|active| Arc::clone(&active.resource)).collect();
        prop_assert_eq!(catalog.into_values().collect::<Vec<_>>(), active);
        prop_assert!(state.changes_between(read, revision).is_empty());
        prop_assert!(state.published.values().all(|published| published.serial.is_some()), "removals are forgotten");
    }
}
