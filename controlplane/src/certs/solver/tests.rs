//! Challenge responses as a CA sees them, on nodes that are connected to a real feed.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::sync::watch;
use webgateway_process::{Stop, Tasks};
use webgateway_proto::feed::{ChallengeResponse, FromNode, Resource, Settings, ToNode};
use webgateway_proto::model::Prefixes;
use webgateway_seal::SecretKey;

use super::*;
use crate::clock::Clock;
use crate::config::FeedAddress;
use crate::domain::GatewayListeners;
use crate::feed::listeners::FeedListeners;
use crate::feed::load::Loader;
use crate::feed::members::Members;
use crate::feed::server::sample_node::{LIMIT, Node};
use crate::feed::server::{CallHandler, FeedService, Timeouts};
use crate::metrics::Metrics;
use crate::store::Store;

struct SolverFixture {
    dir: TempDir,
    solver: Solver,
    tasks: Tasks,
}

impl Drop for SolverFixture {
    fn drop(&mut self) {
        self.tasks.stop().cut();
    }
}

impl SolverFixture {
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
            route_limits: crate::config::RouteLimits::default(),
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
            api: calls,
            dns: Arc::new(|_| Box::pin(async { None })),
            tasks: tasks.clone(),
            timeouts: Timeouts::default(),
            protocol_errors: Counter::default(),
        };
        let listeners =
            FeedListeners::bind(&[FeedAddress::Unix(dir.path().join("feed.sock"))], None).unwrap();
        tasks.essential("feed", service.serve(listeners, None));
        let solver = Solver { timeout, ..Solver::new(base, TxtSet::new(), challenges, nodes) };
        Self { dir, solver, tasks }
    }

    /// Connects a node and lets it catch up.
    async fn node(&self, name: &str) -> Node {
        let mut node = Node::connect(&self.dir.path().join("feed.sock"), name, None).await;
        node.batch_and_ack().await;
        node
    }
}

fn request(host: &str, kind: ChallengeKind) -> ChallengeRequest {
    ChallengeRequest {
        host: Host::parse(host).unwrap(),
        kind,
        token: "token".into(),
        key_authorization: "token.thumbprint".into(),
        dns_value: "value".into(),
        digest: [7; 32],
    }
}

async fn receive_challenge(node: &mut Node) -> (ChallengeResponse, u64) {
    let Ok(ToNode::Begin { full: false }) = node.receive().await else { panic!("no difference") };
    let Ok(ToNode::Put(resource)) = node.receive().await else { panic!("nothing receive_challenge") };
    let Resource::Challenge(challenge) = *resource else { panic!("no challenge") };
    let Ok(ToNode::End(held)) = node.receive().await else { panic!("no end") };
    (challenge.response, held.version)
}

#[tokio::test]
async fn dns_values_are_published_side_by_side_and_withdrawn() {
    let controlplane = SolverFixture::start(LIMIT).await;
    let values = || controlplane.solver.values.values().1;
    let base = request("gw.example", ChallengeKind::Dns01);
    let wildcard = ChallengeRequest { dns_value: "other".into(), ..base.clone() };
    let delegated = request("app.example.org", ChallengeKind::Dns01);
    let first = controlplane.solver.present(&base).await.unwrap();
    let second = controlplane.solver.present(&wildcard).await.unwrap();
    let third = controlplane.solver.present(&delegated).await.unwrap();
    let own = TxtName::for_host(&delegated.host, &base.host);
    let apex = |value: &str| (TxtName::Apex, value.to_owned());
    assert_eq!(values(), [apex("other"), apex("value"), (own.clone(), "value".into())]);
    drop((first, second));
    assert_eq!(values(), [(own, "value".to_owned())]);
    drop(third);
    assert!(values().is_empty());
}

#[tokio::test]
async fn publishing_ends_when_every_node_has_acknowledged() {
    let controlplane = SolverFixture::start(LIMIT).await;
    let (mut a, mut b) = (controlplane.node("a").await, controlplane.node("b").await);
    let request = request("app.example.org", ChallengeKind::TlsAlpn01);
    let mut publish = std::pin::pin!(controlplane.solver.present(&request));
    // Both nodes receive the challenge while the solver waits.
    let (first, second) = tokio::select! {
        biased;
        early = &mut publish => panic!("before any node has acknowledged: {early:?}"),
        both = async { (receive_challenge(&mut a).await, receive_challenge(&mut b).await) } => both,
    };
    for (response, _) in [&first, &second] {
        assert!(matches!(response, ChallengeResponse::TlsAlpn { .. }));
    }
    a.send(FromNode::Ack(first.1)).await;
    let early = timeout(Duration::from_millis(50), &mut publish).await;
    assert!(early.is_err(), "one node has not acknowledged yet");
    b.send(FromNode::Ack(second.1)).await;
    let published = publish.await.unwrap();
    let mut late = Node::connect(&controlplane.dir.path().join("feed.sock"), "c", None).await;
    assert!(
        late.batch_and_ack().await.contains(&"+challenge/app.example.org".to_owned()),
        "a node that connects later gets it too"
    );
    drop(published);
    for node in [&mut a, &mut b, &mut late] {
        assert_eq!(node.batch_and_ack().await, ["-challenge/app.example.org"]);
    }
}

#[tokio::test]
async fn a_node_that_disconnects_is_not_awaited_and_one_that_rejects_is_named() {
    let controlplane = SolverFixture::start(LIMIT).await;
    let (mut a, mut b) = (controlplane.node("a").await, controlplane.node("b").await);
    let request = request("app.example.org", ChallengeKind::Http01);
    let leaving = async {
        let (response, version) = receive_challenge(&mut a).await;
        let ChallengeResponse::Http { token, key_authorization } = response else { panic!("no file") };
        assert_eq!((token.as_str(), key_authorization.as_str()), ("token", "token.thumbprint"));
        a.send(FromNode::Ack(version)).await;
        receive_challenge(&mut b).await;
        drop(b);
    };
    let (published, ()) = tokio::join!(controlplane.solver.present(&request), leaving);
    drop(published.unwrap());
    assert_eq!(a.batch_and_ack().await, ["-challenge/app.example.org"]);

    let rejecting = async {
        let (_, version) = receive_challenge(&mut a).await;
        let resource = "challenge/app.example.org".to_owned();
        a.send(FromNode::Reject { version, resource, reason: "the key does not fit".into() }).await;
        a.send(FromNode::Ack(version)).await;
    };
    let (published, ()) = tokio::join!(controlplane.solver.present(&request), rejecting);
    let error = published.unwrap_err().to_string();
    assert!(error.contains("dataplane a") && error.contains("the key does not fit"), "{error}");
    assert_eq!(a.batch_and_ack().await, ["-challenge/app.example.org"], "withdrawn after a failure too");
    let (published, ()) =
        tokio::join!(controlplane.solver.present(&request), async { drop(a.batch_and_ack().await) });
    drop(published.unwrap());
}

#[tokio::test]
async fn the_wait_is_bounded_and_names_the_late_nodes() {
    let controlplane = SolverFixture::start(Duration::from_millis(300)).await;
    let request = request("app.example.org", ChallengeKind::TlsAlpn01);
    let nobody = controlplane.solver.present(&request).await.unwrap_err();
    assert!(matches!(nobody, PresentError::NotAcked(AckError::NoNode)), "{nobody}");
    let _slow = controlplane.node("slow").await;
    let late = controlplane.solver.present(&request).await.unwrap_err();
    assert!(late.to_string().contains("slow"), "{late}");
}
