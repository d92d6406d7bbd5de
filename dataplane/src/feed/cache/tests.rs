//! Tests of the cache: stored resources are restored, removed ones are not, and the error about a damaged file names
//! it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use prometheus_client::registry::Registry;
use webgateway_proto::feed::{
    Challenge, ChallengeResponse, FeedRoute, FeedVersion, Resource, ResourceName, Settings, ToNode,
};
use webgateway_proto::model::{Backends, Host, Prefixes, RouteId};

use super::*;
use crate::feed::apply::{ApplyOutcome, BatchBuilder, apply};
use crate::snapshot::tests::{certificate, tickets};

const NOW: i64 = 1_000_000;

/// A node without sockets.
struct Node {
    dir: tempfile::TempDir,
    snapshot: Arc<Snapshot>,
    metrics: Metrics,
}

/// A started node, whose cache is being written.
struct Running<'n> {
    node: &'n mut Node,
    cache: Option<Cache>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Node {
    fn new() -> Self {
        let metrics = Metrics::register(&mut Registry::default());
        Self { dir: tempfile::tempdir().unwrap(), snapshot: Arc::default(), metrics }
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// Starts the node without a controlplane: its snapshot is that of the cache.
    fn start(&mut self) -> Running<'_> {
        let state = self.dir.path().join("state");
        let opened = open(&self.folder(), &state, &tickets(), self.metrics.clone(), NOW).unwrap();
        self.snapshot = Arc::new(opened.restored.map(|restored| restored.snapshot).unwrap_or_default());
        let write = opened.write;
        let thread = std::thread::spawn(move || write().unwrap());
        Running { node: self, cache: Some(opened.cache), thread: Some(thread) }
    }

    fn hosts(&self) -> Vec<String> {
        let mut hosts: Vec<_> = self.snapshot.routes.iter().map(|route| route.host.to_string()).collect();
        hosts.sort();
        hosts
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder()).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Running<'_> {
    /// Applies a batch and waits until it may be acknowledged.
    fn batch(&mut self, full: bool, messages: Vec<ToNode>, version: u64) {
        let mut builder = BatchBuilder::default();
        let current = Arc::clone(&self.node.snapshot);
        builder.push(ToNode::Begin { full }, &current);
        messages.into_iter().for_each(|message| drop(builder.push(message, &current)));
        let batch = builder.push(ToNode::End(held(version)), &current).unwrap();
        let record = CacheRecord::new(&batch, NOW);
        let ApplyOutcome { snapshot, .. } = apply(&self.node.snapshot, batch, &tickets(), NOW);
        self.node.snapshot = Arc::new(snapshot);
        let persisted = self.cache.as_ref().unwrap().store(record, Arc::clone(&self.node.snapshot));
        persisted.blocking_recv().unwrap();
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        drop(self.cache.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn held(version: u64) -> FeedVersion {
    FeedVersion { epoch: "e".into(), version }
}

fn id(n: u32) -> RouteId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    RouteId::from_bytes(bytes)
}

fn route(n: u32) -> ToNode {
    put(Resource::Route(FeedRoute {
        id: id(n),
        host: Host::parse(&format!("h{n}.gw.example")).unwrap(),
        destination: Backends::parse(&["127.0.0.1:80"], &everywhere()).unwrap().into(),
    }))
}

fn everywhere() -> Prefixes {
    Prefixes::new(vec!["0.0.0.0/0".parse().unwrap()])
}

fn put(resource: Resource) -> ToNode {
    ToNode::Put(Box::new(resource))
}

fn settings() -> ToNode {
    let base_domain = Host::parse("gw.example").unwrap();
    put(Resource::Settings(Settings { base_domain, allowed_backends: everywhere(), listeners: vec![] }))
}

fn suspend(n: u32) -> ToNode {
    ToNode::Remove { name: ResourceName::Route(id(n)), at_once: true }
}

#[test]
fn a_cold_start_restores_exactly_what_was_stored() {
    let mut node = Node::new();
    let good = put(Resource::Certificate(certificate(&["a.b"], NOW - 5, NOW + 5)));
    let mut running = node.start();
    running.batch(true, vec![settings(), good, route(1), route(2)], 1);
    running.batch(false, vec![route(3)], 2);
    running.batch(false, vec![suspend(2)], 3);
    drop(running);
    assert_eq!(node.files(), ["anew.1", "snapshot.1"]);
    for _ in 0..3 {
        drop(node.start());
        assert_eq!(node.hosts(), ["h1.gw.example", "h3.gw.example"]);
        assert_eq!(node.snapshot.held, Some(held(3)));
        assert!(node.snapshot.certs.lookup("a.b", NOW).is_some() && node.snapshot.is_base("gw.example"));
    }
    node.start().batch(false, vec![route(2)], 4);
    drop(node.start());
    assert_eq!((node.hosts().len(), node.snapshot.held.clone()), (3, Some(held(4))));
    node.start().batch(true, vec![settings(), route(9)], 5);
    drop(node.start());
    assert_eq!(node.hosts(), ["h9.gw.example"]);
    assert_eq!(node.metrics.cache_failures.get(), 0);
}

#[test]
fn a_version_is_not_held_if_the_cache_lacks_a_resource_of_it() {
    let response = ChallengeResponse::Http { token: "t".into(), key_authorization: "t.k".into() };
    let challenge = Challenge { host: Host::parse("own.example").unwrap(), response };
    let mut node = Node::new();
    node.start().batch(true, vec![settings(), route(1), put(Resource::Challenge(challenge))], 1);
    drop(node.start());
    assert_eq!(node.snapshot.held, None, "the controlplane must send the challenge again");
    let mut node = Node::new();
    let mut bad = certificate(&["a.b"], NOW - 5, NOW + 5);
    bad.chain = vec![vec![1]];
    let bad = put(Resource::Certificate(bad));
    let mut running = node.start();
    running.batch(true, vec![settings(), route(1)], 1);
    running.batch(false, vec![bad], 2);
    drop(running);
    drop(node.start());
    assert_eq!(node.snapshot.held, Some(held(1)));
    assert!(!node.snapshot.rejected.is_empty());
}

/// The clock may be wrong at boot: cached certificates stay until it is corrected.
#[test]
fn a_certificate_that_is_not_valid_yet_is_stored_with_the_one_before() {
    let certified = |from, to| put(Resource::Certificate(certificate(&["a.b"], from, to)));
    let mut node = Node::new();
    let mut running = node.start();
    running.batch(true, vec![settings(), certified(NOW - 5, NOW + 9)], 1);
    running.batch(false, vec![certified(NOW + 5, NOW + 20)], 2);
    drop(running);
    // From the journal first, then from a snapshot.
    for _ in 0..2 {
        drop(node.start());
        assert_eq!(node.snapshot.held, Some(held(2)));
        let served = |at| node.snapshot.certs.lookup("a.b", at).map(|cert| cert.not_before - NOW);
        assert_eq!([NOW - 6, NOW, NOW + 5, NOW + 30].map(served), [None, Some(-5), Some(5), Some(5)]);
        node.start().batch(true, vec![settings(), certified(NOW + 5, NOW + 20)], 2);
    }
}

#[test]
fn a_large_journal_is_replaced_by_a_snapshot_without_loss() {
    let mut node = Node::new();
    let mut running = node.start();
    running.batch(true, vec![settings()], 1);
    for n in 0..40 {
        running.batch(false, (0..2000).map(|i| route(n * 2000 + i)).collect(), u64::from(n) + 2);
    }
    running.batch(false, vec![suspend(7)], 50);
    drop(running);
    assert!(!node.files().contains(&"snapshot.1".to_owned()), "{:?}", node.files());
    let before = node.snapshot.routes.len();
    drop(node.start());
    assert_eq!((node.snapshot.routes.len(), before), (79_999, 79_999));
    assert_eq!(node.snapshot.held, Some(held(50)));
}

#[test]
fn a_modified_file_is_rejected_by_name_and_replaced_by_the_next_full_batch() {
    for file in ["snapshot.1", "anew.1"] {
        let mut node = Node::new();
        let mut running = node.start();
        running.batch(true, vec![settings(), route(1)], 1);
        running.batch(false, vec![suspend(1)], 2);
        drop(running);
        let path = node.folder().join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let key = SecretKey::load_or_create(&node.dir.path().join("state/cache.key"), "state_dir").unwrap();
        let error =
            load::load(&CacheDir::new(&node.folder()), &key, &tickets(), NOW).err().unwrap().to_string();
        assert!(error.contains(file), "{error}");
        let mut running = node.start();
        assert!(running.node.snapshot.settings.is_none());
        running.batch(true, vec![settings(), route(4)], 3);
        drop(running);
        drop(node.start());
        assert_eq!(node.hosts(), ["h4.gw.example"]);
    }
}

#[test]
fn a_truncated_snapshot_another_key_and_a_missing_journal_are_errors() {
    let mut node = Node::new();
    node.start().batch(true, vec![settings(), route(1)], 1);
    node.start().batch(false, vec![route(2)], 2);
    node.start().batch(false, vec![route(3)], 3);
    let load = |folder: &std::path::Path, key: &SecretKey| {
        let error = load::load(&CacheDir::new(folder), key, &tickets(), NOW).err();
        error.map(|error| error.to_string()).unwrap_or_default()
    };
    let own = SecretKey::load_or_create(&node.dir.path().join("state/cache.key"), "state_dir").unwrap();
    assert_eq!(load(&node.folder(), &own), "");
    let foreign = SecretKey::new(&[7; 32]).unwrap();
    assert!(load(&node.folder(), &foreign).contains("snapshot.1"));
    std::fs::remove_file(node.folder().join("journal.2")).unwrap();
    assert!(load(&node.folder(), &own).contains("journal.3"));
    let snapshot = node.folder().join("snapshot.1");
    let bytes = std::fs::read(&snapshot).unwrap();
    std::fs::write(&snapshot, &bytes[..bytes.len() - 1]).unwrap();
    assert!(load(&node.folder(), &own).contains("cut off"));
}

#[test]
fn the_cache_is_emptied_if_a_removal_cannot_be_stored() {
    let mut node = Node::new();
    let mut running = node.start();
    running.batch(true, vec![settings(), route(1)], 1);
    let folder = running.node.folder();
    // A folder has the name of the next file: that cannot be written, while the existing files can be removed.
    std::fs::create_dir(folder.join("snapshot.new")).unwrap();
    running.batch(true, vec![settings()], 2);
    assert!(running.node.metrics.cache_failures.get() > 0);
    assert_eq!(running.node.metrics.cache_good.get(), 0);
    drop(running);
    assert_eq!(node.files(), ["snapshot.new"]);
    std::fs::remove_dir(folder.join("snapshot.new")).unwrap();
    drop(node.start());
    assert!(node.hosts().is_empty());
}

/// A measurement: `cargo test --release -p webgateway-dataplane -- --ignored --nocapture measure_the_cache` prints it.
#[test]
#[ignore = "a measurement, for a release build"]
fn measure_the_cache() {
    for count in [1000, 1_000_000] {
        let mut node = Node::new();
        let mut running = node.start();
        let messages = std::iter::once(settings()).chain((0..count).map(route)).collect();
        running.batch(true, messages, 1);
        let started = Instant::now();
        running.batch(false, vec![suspend(5)], 2);
        let suspended = started.elapsed();
        let started = Instant::now();
        let snapshot = Arc::clone(&running.node.snapshot);
        let persisted = running
            .cache
            .as_ref()
            .unwrap()
            .store(CacheRecord { mode: WriteMode::Rewrite, at: NOW }, snapshot);
        persisted.blocking_recv().unwrap();
        let written = started.elapsed();
        drop(running);
        let folder = node.folder();
        let size: u64 = node.files().iter().map(|f| std::fs::metadata(folder.join(f)).unwrap().len()).sum();
        let started = Instant::now();
        drop(node.start());
        let loaded: Duration = started.elapsed();
        println!(
            "{count} routes: {size} bytes; suspended {suspended:?}, written {written:?}, loaded {loaded:?}"
        );
        assert_eq!(node.hosts().len(), count as usize - 1);
    }
}
