//! What a CA would see, at real nodes on a real feed.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::sync::watch;
use webgateway_process::{Stop, Tasks};
use webgateway_proto::feed::{ChallengeResponse, FromNode, Resource, Settings, ToNode};
use webgateway_proto::model::Prefixes;

use super::*;
use crate::clock::Clock;
use crate::config::FeedAddress;
use crate::domain::GatewayListeners;
use crate::feed::listeners::Listeners;
use crate::feed::load::Loader;
use crate::feed::members::Members;
use crate::feed::server::sample_node::{LIMIT, Node};
use crate::feed::server::{CallHandler, FeedService, Timeouts};
use crate::metrics::Metrics;
use crate::seal::SecretKey;
use crate::store::Store;

struct Controlplane {
    dir: TempDir,
    solver: Solver,
    tasks: Tasks,
}

impl Drop for Controlplane {
    fn drop(&mut self) {
        self.tasks.stop().cut();
    }
}

impl Controlplane {
    async fn start(timeout: Duration) -> Self {
        let dir = TempDir::new().unwrap();
        let metrics = Metrics::register(&mut Registry::default());
        let store = Store::open(&dir.path().join("controlplane.db"), metrics).unwrap();
        let challenges = Challenges::new(store.clone());
        let base = Host::parse("gw.example").unwrap();
        let loader = Loader {
            store,
            key: Arc::new(SecretKey::new(&[1; 32]).unwrap()),
            settings: Settings {
                base_domain: base.clone(),
                allowed_backends: Prefixes::default(),
                listeners: vec![],
            },
            listeners: GatewayListeners::default(),
            challenges: challenges.clone(),
            clock: crate::clock::Clock::system(),
            delay: Duration::from_millis(1),
        };
        let tasks = Tasks::new(Stop::new());
        let (published, catalog) = watch::channel(loader.load().await.unwrap());
        tasks.essential("catalog", loader.follow(published, tasks.stop().clone()));
        tasks.essential("challenges", challenges.clone().follow(tasks.stop().clone()));
        let nodes = Nodes::new(Clock::system(), Gauge::default());
        let calls: CallHandler = Arc::new(|_| Box::pin(async { http::Response::default() }));
        let service = FeedService {
            catalog,
            nodes: nodes.clone(),
            listeners: GatewayListeners::default(),
            members: Members::new(Clock::system()),
            calls,
            questions: Arc::new(|_| Box::pin(async { None })),
            tasks: tasks.clone(),
            timeouts: Timeouts::default(),
            garbage: Counter::default(),
        };
        let listeners = Listeners::bind(&[FeedAddress::Unix(dir.path().join("feed.sock"))], None).unwrap();
        tasks.essential("feed", service.serve(listeners, None));
        let solver = Solver { timeout, ..Solver::new(base, TxtSet::new(), challenges, nodes) };
        Self { dir, solver, tasks }
    }

    /// A node that holds everything there is.
    async fn node(&self, name: &str) -> Node {
        let mut node = Node::connect(&self.dir.path().join("feed.sock"), name, None).await;
        node.take().await;
        node
    }
}

fn asked(host: &str, kind: ChallengeKind) -> ChallengeRequest {
    ChallengeRequest {
        host: Host::parse(host).unwrap(),
        kind,
        token: "token".into(),
        key_authorization: "token.thumbprint".into(),
        dns_value: "value".into(),
        digest: [7; 32],
    }
}

async fn put(node: &mut Node) -> (ChallengeResponse, u64) {
    let Ok(ToNode::Begin { full: false }) = node.hear().await else { panic!("no difference") };
    let Ok(ToNode::Put(resource)) = node.hear().await else { panic!("nothing put") };
    let Resource::Challenge(challenge) = *resource else { panic!("no challenge") };
    let Ok(ToNode::End(held)) = node.hear().await else { panic!("no end") };
    (challenge.response, held.version)
}

#[tokio::test]
async fn dns_values_are_shown_side_by_side_and_taken_back() {
    let plane = Controlplane::start(LIMIT).await;
    let values = || plane.solver.values.values().1;
    let base = asked("gw.example", ChallengeKind::Dns01);
    let wildcard = ChallengeRequest { dns_value: "other".into(), ..base.clone() };
    let delegated = asked("app.example.org", ChallengeKind::Dns01);
    let first = plane.solver.present(&base).await.unwrap();
    let second = plane.solver.present(&wildcard).await.unwrap();
    let third = plane.solver.present(&delegated).await.unwrap();
    let own = Place::of(&delegated.host, &base.host);
    let apex = |value: &str| (Place::Apex, value.to_owned());
    assert_eq!(values(), [apex("other"), apex("value"), (own.clone(), "value".into())]);
    drop((first, second));
    assert_eq!(values(), [(own, "value".to_owned())]);
    drop(third);
    assert!(values().is_empty());
}

#[tokio::test]
async fn the_ca_may_look_once_every_node_holds_the_answer() {
    let plane = Controlplane::start(LIMIT).await;
    let (mut a, mut b) = (plane.node("a").await, plane.node("b").await);
    let asked = asked("app.example.org", ChallengeKind::TlsAlpn01);
    let mut show = std::pin::pin!(plane.solver.present(&asked));
    // Both are heard while the solver works.
    let (first, second) = tokio::select! {
        biased;
        early = &mut show => panic!("before any node holds it: {early:?}"),
        both = async { (put(&mut a).await, put(&mut b).await) } => both,
    };
    for (response, _) in [&first, &second] {
        assert!(matches!(response, ChallengeResponse::TlsAlpn { .. }));
    }
    a.say(FromNode::Ack(first.1)).await;
    let early = timeout(Duration::from_millis(50), &mut show).await;
    assert!(early.is_err(), "one node does not hold it yet");
    b.say(FromNode::Ack(second.1)).await;
    let shown = show.await.unwrap();
    let mut late = Node::connect(&plane.dir.path().join("feed.sock"), "c", None).await;
    assert!(
        late.take().await.contains(&"+challenge/app.example.org".to_owned()),
        "it comes to who comes later"
    );
    drop(shown);
    for node in [&mut a, &mut b, &mut late] {
        assert_eq!(node.take().await, ["-challenge/app.example.org"]);
    }
}

#[tokio::test]
async fn a_node_that_leaves_is_not_waited_for_and_one_that_rejects_is_named() {
    let plane = Controlplane::start(LIMIT).await;
    let (mut a, mut b) = (plane.node("a").await, plane.node("b").await);
    let asked = asked("app.example.org", ChallengeKind::Http01);
    let leaving = async {
        let (response, version) = put(&mut a).await;
        let ChallengeResponse::Http { token, key_authorization } = response else { panic!("no file") };
        assert_eq!((token.as_str(), key_authorization.as_str()), ("token", "token.thumbprint"));
        a.say(FromNode::Ack(version)).await;
        put(&mut b).await;
        drop(b);
    };
    let (shown, ()) = tokio::join!(plane.solver.present(&asked), leaving);
    drop(shown.unwrap());
    assert_eq!(a.take().await, ["-challenge/app.example.org"]);

    let rejecting = async {
        let (_, version) = put(&mut a).await;
        let resource = "challenge/app.example.org".to_owned();
        a.say(FromNode::Reject { version, resource, reason: "the key does not fit".into() }).await;
        a.say(FromNode::Ack(version)).await;
    };
    let (shown, ()) = tokio::join!(plane.solver.present(&asked), rejecting);
    let error = shown.unwrap_err().to_string();
    assert!(error.contains("dataplane a") && error.contains("the key does not fit"), "{error}");
    assert_eq!(a.take().await, ["-challenge/app.example.org"], "taken back after a failure too");
    let (shown, ()) = tokio::join!(plane.solver.present(&asked), async { drop(a.take().await) });
    drop(shown.unwrap());
}

#[tokio::test]
async fn the_wait_is_bounded_and_says_for_whom() {
    let plane = Controlplane::start(Duration::from_millis(300)).await;
    let asked = asked("app.example.org", ChallengeKind::TlsAlpn01);
    let nobody = plane.solver.present(&asked).await.unwrap_err();
    assert!(matches!(nobody, PresentError::NotAcked(NotAckedError::NoNode)), "{nobody}");
    let _slow = plane.node("slow").await;
    let late = plane.solver.present(&asked).await.unwrap_err();
    assert!(late.to_string().contains("slow"), "{late}");
}
