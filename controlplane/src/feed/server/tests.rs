//! Tests of the feed's service with a real client over a real unix socket.

use std::path::PathBuf;

use bytes::Bytes;
use prometheus_client::metrics::gauge::Gauge;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use webgateway_process::Stop;

use super::sample_node::{LIMIT, Node, client};
use super::*;
use crate::clock::Clock;
use crate::config::FeedAddress;
use crate::domain::GatewayListeners;
use crate::feed::samples::{history, put, remove, route_name};
use crate::store::change::{ChangeSet, ResourceChange};
use crate::traffic::TrafficState;

struct Controlplane {
    path: PathBuf,
    catalog: watch::Sender<Catalog>,
    nodes: Nodes,
    protocol_errors: Counter,
    tasks: Tasks,
    _dir: TempDir,
}

impl Drop for Controlplane {
    fn drop(&mut self) {
        self.tasks.stop().cut();
    }
}

impl Controlplane {
    fn start(timeouts: Timeouts) -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("feed.sock");
        let (nodes, tasks) = (Nodes::new(Clock::system(), Gauge::default()), Tasks::new(Stop::new()));
        let mut catalog = Catalog::new(history("e"), 0);
        catalog.apply(ChangeSet { version: 2, changed: vec![put(1, 1), put(2, 2)] });
        let (catalog, receiver) = watch::channel(catalog);
        let echo: CallHandler = Arc::new(|call: ApiCall| {
            Box::pin(
                async move { http::Response::new(format!("{} {}", call.client, call.request.uri()).into()) },
            )
        });
        let protocol_errors = Counter::default();
        let service = FeedService {
            catalog: receiver,
            nodes: nodes.clone(),
            listeners: GatewayListeners::default(),
            members: Members::new(Clock::system()),
            traffic: TrafficState::default(),
            api: echo,
            dns: Arc::new(|_| Box::pin(async { None })),
            tasks: tasks.clone(),
            timeouts,
            protocol_errors: protocol_errors.clone(),
        };
        tasks.essential(
            "feed",
            service.serve(FeedListeners::bind(&[FeedAddress::Unix(path.clone())], None).unwrap(), None),
        );
        Self { path, catalog, nodes, protocol_errors, tasks, _dir: dir }
    }

    fn change(&self, changed: ResourceChange) {
        self.catalog.send_modify(|catalog| {
            catalog.apply(ChangeSet { version: changed.version, changed: vec![changed] });
        });
    }

    /// Waits until the list of nodes is as `expected`.
    async fn wait_nodes(&self, expected: impl Fn(&[super::super::nodes::Node]) -> bool) {
        let wait = async {
            while !expected(&self.nodes.list()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("{:?}", self.nodes.list()));
    }

    async fn wait_protocol_errors(&self, protocol_errors: u64) {
        let wait = async {
            while self.protocol_errors.get() < protocol_errors {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(LIMIT, wait)
            .await
            .unwrap_or_else(|_| panic!("{} instead of {protocol_errors}", self.protocol_errors.get()));
    }
}

fn named(sign: &str, n: u64) -> String {
    format!("{sign}{}", route_name(n))
}

#[tokio::test]
async fn a_node_gets_everything_then_differences_also_after_a_reconnect() {
    let plane = Controlplane::start(Timeouts::default());
    let mut node = Node::connect(&plane.path, "edge1", None).await;
    assert_eq!(node.batch().await, (true, vec![named("+", 1), named("+", 2)], 2));
    plane.change(put(1, 3));
    plane.change(remove(2, 4));
    node.send(FromNode::Ack(2)).await;
    assert_eq!(node.batch().await, (false, vec![named("+", 1), named("-", 2)], 4));
    node.send(FromNode::Ack(4)).await;
    plane.wait_nodes(|nodes| nodes[0].connected && nodes[0].held == 4).await;

    drop(node);
    plane.wait_nodes(|nodes| !nodes[0].connected).await;
    plane.change(put(3, 5));
    let mut node =
        Node::connect(&plane.path, "edge1", Some(FeedVersion { epoch: "e".into(), version: 4 })).await;
    assert_eq!(node.batch().await, (false, vec![named("+", 3)], 5));
    let mut other =
        Node::connect(&plane.path, "edge2", Some(FeedVersion { epoch: "old".into(), version: 4 })).await;
    assert_eq!(other.batch().await, (true, vec![named("+", 1), named("+", 3)], 5));
    assert_eq!(plane.protocol_errors.get(), 0);
}

#[tokio::test]
async fn a_reject_is_listed_until_the_resource_changes() {
    let plane = Controlplane::start(Timeouts::default());
    let mut node = Node::connect(&plane.path, "edge1", None).await;
    node.batch().await;
    let resource = route_name(1).to_string();
    node.send(FromNode::Reject { version: 2, resource: resource.clone(), reason: "key does not fit".into() })
        .await;
    node.send(FromNode::Ack(2)).await;
    node.send(FromNode::Status { connections: 7, requests: 9, draining: false }).await;
    plane.wait_nodes(|nodes| nodes[0].acked == 2 && nodes[0].connections == 7).await;
    let listed = &plane.nodes.list()[0];
    assert_eq!((listed.held, listed.rejects[&resource].as_str()), (0, "key does not fit"));
    plane.change(put(1, 3));
    assert_eq!(node.batch().await, (false, vec![named("+", 1)], 3));
    node.send(FromNode::Ack(3)).await;
    plane.wait_nodes(|nodes| nodes[0].held == 3 && nodes[0].rejects.is_empty()).await;
}

#[tokio::test]
async fn a_newer_stream_replaces_an_older_one_of_the_same_name() {
    let plane = Controlplane::start(Timeouts::default());
    let mut first = Node::connect(&plane.path, "edge1", None).await;
    first.batch().await;
    let mut second = Node::connect(&plane.path, "edge1", None).await;
    second.batch().await;
    assert_eq!(first.receive().await.unwrap_err().code(), tonic::Code::Aborted);
    second.send(FromNode::Ack(2)).await;
    plane.wait_nodes(|nodes| nodes.len() == 1 && nodes[0].connected && nodes[0].held == 2).await;
}

#[tokio::test]
async fn a_node_without_heartbeats_is_disconnected() {
    let short = Duration::from_millis(200);
    let timeouts = Timeouts { heartbeat: short / 4, idle: short, hello: short / 2, ..Timeouts::default() };
    let plane = Controlplane::start(timeouts);
    let mut silent = Node::connect(&plane.path, "silent", None).await;
    let mut lively = Node::connect(&plane.path, "lively", None).await;
    let outbound = lively.outbound.clone();
    plane.tasks.spawn("heartbeats", async move {
        while outbound.send(FromNode::Heartbeat.into()).await.is_ok() {
            tokio::time::sleep(short / 8).await;
        }
    });
    silent.batch().await;
    lively.batch().await;
    assert_eq!(silent.receive().await.unwrap_err().code(), tonic::Code::DeadlineExceeded);
    plane.wait_nodes(|nodes| nodes.iter().any(|node| !node.connected)).await;
    lively.send(FromNode::Ack(2)).await;
    plane.wait_nodes(|nodes| nodes.iter().any(|n| n.name == "lively" && n.connected && n.held == 2)).await;

    let mut nobody = Node::connect_without_hello(&plane.path).await;
    assert_eq!(nobody.receive().await.unwrap_err().code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn protocol_errors_close_connections_and_are_counted() {
    let plane = Controlplane::start(Timeouts { hello: Duration::from_millis(300), ..Timeouts::default() });
    let mut node = Node::connect(&plane.path, "edge1", None).await;
    node.batch().await;
    let cases: [&[u8]; 4] =
        [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02", b"PRI * HTTP/2.0\r\n\r\nXX", b""];
    for bytes in cases {
        let mut stream = UnixStream::connect(&plane.path).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        // The connection ends or is reset in time.
        let _ = timeout(LIMIT, stream.read_to_end(&mut Vec::new())).await.expect("the connection ends");
    }
    plane.wait_protocol_errors(4).await;
    let mut wrong_ack = Node::connect(&plane.path, "wrong-ack", None).await;
    wrong_ack.batch().await;
    wrong_ack.send(FromNode::Ack(99)).await;
    assert_eq!(wrong_ack.receive().await.unwrap_err().code(), tonic::Code::InvalidArgument);
    let mut unnamed = Node::connect(&plane.path, "", None).await;
    assert_eq!(unnamed.receive().await.unwrap_err().code(), tonic::Code::InvalidArgument);
    plane.wait_protocol_errors(6).await;
    node.send(FromNode::Ack(2)).await;
    plane.wait_nodes(|nodes| nodes.iter().any(|n| n.name == "edge1" && n.connected && n.held == 2)).await;
}

#[tokio::test]
async fn api_calls_get_responses_and_are_bounded() {
    let plane = Controlplane::start(Timeouts::default());
    let mut client = client(&plane.path).await;
    let call = |body: Bytes| {
        let request = http::Request::post("https://gw.example/rpc").body(body).unwrap();
        wire::CallRequest::from(ApiCall { request, client: "400::9".parse().unwrap() })
    };
    let reply = client.call(call(Bytes::from_static(b"{}"))).await.unwrap().into_inner();
    assert_eq!((reply.status, &reply.body[..]), (200, &b"400::9 https://gw.example/rpc"[..]));
    client.call(call(vec![0; MAX_BODY].into())).await.unwrap();
    assert!(client.call(call(vec![0; MAX_MESSAGE].into())).await.is_err());
    let bad = client.call(wire::CallRequest::default()).await.unwrap_err();
    assert_eq!(bad.code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn stopping_ends_the_streams_and_removes_the_socket() {
    let plane = Controlplane::start(Timeouts::default());
    let mut node = Node::connect(&plane.path, "edge1", None).await;
    node.batch().await;
    plane.tasks.stop().begin();
    assert_eq!(node.receive().await.unwrap_err().code(), tonic::Code::Unavailable);
    plane.tasks.run_until_stopped(LIMIT).await.unwrap();
    assert!(!plane.path.exists());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_node_that_does_not_read() {
    let plane = Controlplane::start(Timeouts::default());
    let mut frozen = UnixStream::connect(&plane.path).await.unwrap();
    frozen.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    frozen.read_u8().await.unwrap();
    plane.tasks.stop().begin();
    let stopped = plane.tasks.run_until_stopped(Duration::from_secs(3600));
    timeout(SHUTDOWN_GRACE * 2, stopped).await.expect("it stops").unwrap();
}
