//! The API in process, with real keys and signatures; the specification's examples; each way to be refused.

mod http;
mod refusals;
mod rpc;
mod signature_forms;
mod signatures;
mod specification;
mod waiting;

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::sync::watch;
use webgateway_process::Stop;
use webgateway_proto::httpsig::{PrivateKey, RequiredComponent, sign};
use webgateway_proto::model::{Host, Prefixes};

use super::*;
use crate::clock::Clock;
use crate::config::KeySource;
use crate::domain::{
    AckProgress, AckTarget, Domain, GatewayListeners, HostPolicy, Invitations, NodeDirectory,
    NodeExplanation, NodeReject, NodeStatus, Quotas,
};
use crate::keys::KeyStore;
use crate::metrics::Metrics;
use crate::store::Store;

const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const RPC: Origin = Origin::Rpc { local: LOCAL };
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const URL: &str = "http://localhost:8080/rpc";

struct Scene {
    api: Api,
    store: Store,
    metrics: Metrics,
    registry: Registry,
    stop: Stop,
    dir: TempDir,
    nonces: AtomicU64,
}

#[derive(Debug)]
struct OneNode;

#[async_trait::async_trait]
impl NodeDirectory for OneNode {
    fn nodes(&self) -> Vec<NodeStatus> {
        let node = NodeStatus {
            name: "n1".into(),
            build: "0".into(),
            address: String::new(),
            connected: true,
            since: OffsetDateTime::UNIX_EPOCH,
            version: 1,
            rejects: vec![],
            connections: 0,
            requests: 0,
            draining: false,
            backends_down: 0,
        };
        vec![node]
    }

    async fn wait_acked(&self, target: &AckTarget, _: Duration) -> AckProgress {
        let reject = |_| NodeReject { node: "n1".into(), reason: "too odd".into() };
        let rejects = target.resource.iter().map(reject).collect();
        match target.version {
            0 | 1 => AckProgress { acked: 1, pending: vec![], rejects },
            _ => AckProgress { acked: 0, pending: vec!["n1".into()], rejects },
        }
    }

    async fn explain(&self, _: &Host, _: Duration) -> Vec<NodeExplanation> {
        vec![NodeExplanation { node: "n1".into(), rejects: vec![], explanation: None }]
    }
}

impl Scene {
    /// An API that knows the keys `admin.pub`, `user1.pub` and `user2.pub`.
    fn new() -> Self {
        Self::with(None)
    }

    /// The same, that invites nodes.
    fn with(invitations: Option<Invitations>) -> Self {
        Self::build(invitations, vec![])
    }

    /// The same, with signatures that cover this too.
    fn requiring(required: &[&str]) -> Self {
        Self::build(None, required.iter().map(|component| component.parse().unwrap()).collect())
    }

    fn build(invitations: Option<Invitations>, required: Vec<RequiredComponent>) -> Self {
        let dir = TempDir::new().unwrap();
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let keys = dir.path().join("keys");
        fs::create_dir(&keys).unwrap();
        for name in ["admin.pub", "user1.pub", "user2.pub"] {
            fs::write(keys.join(name), key(name).public().to_pem()).unwrap();
        }
        let domain = domain(dir.path(), &metrics, invitations);
        let store = domain.store.clone();
        let stop = Stop::new();
        let api = Api::new(Parts { domain, metrics: metrics.clone(), stop: stop.clone(), required });
        Self { api, store, metrics, registry, stop, dir, nonces: AtomicU64::default() }
    }

    fn nonce(&self) -> String {
        format!("n{}", self.nonces.fetch_add(1, Ordering::Relaxed))
    }

    /// Signs `body` as `who` for `url`.
    fn signed(&self, who: &str, url: &str, body: &str) -> Request<Bytes> {
        let mut request = unsigned(url, body);
        let now = Clock::system().now().unix_timestamp();
        sign(&mut request, &key(who), &who.parse().unwrap(), now, &self.nonce()).unwrap();
        request
    }

    /// The same after a restart: nothing is remembered but what is on the disk.
    fn restarted(self) -> Self {
        let Self { api, store, dir, .. } = self;
        drop((api, store));
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let domain = domain(dir.path(), &metrics, None);
        let (store, stop) = (domain.store.clone(), Stop::new());
        let api = Api::new(Parts { domain, metrics: metrics.clone(), stop: stop.clone(), required: vec![] });
        Self { api, store, metrics, registry, stop, dir, nonces: AtomicU64::new(1 << 32) }
    }

    async fn send(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.api.handle(request, RPC, CLIENT).await
    }

    /// The whole answer to a body signed as `who`.
    async fn post(&self, who: &str, body: &str) -> (StatusCode, Value) {
        read(self.send(self.signed(who, URL, body)).await)
    }

    /// The answer's result, or its error.
    async fn call(&self, who: &str, method: &str, params: Value) -> Result<Value, Value> {
        let body = json!({ "jsonrpc": "2.0", "method": method, "params": params, "id": 1 });
        let (status, mut answer) = self.post(who, &body.to_string()).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        match answer["error"].take() {
            Value::Null => Ok(answer["result"].take()),
            error => {
                let is_declared =
                    |entry: &methods::Entry| entry.errors().any(|kind| error["data"]["kind"] == kind.word());
                assert!(methods::find(method).is_none_or(is_declared), "{method} does not declare {error}");
                Err(error)
            }
        }
    }

    /// How often requests were refused for `reason`.
    fn refused(&self, reason: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let line = format!("webgateway_api_refused_total{{reason=\"{reason}\"}} ");
        text.lines().find_map(|l| l.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
    }
}

/// The rules over the database and the keys in `dir`.
fn domain(dir: &Path, metrics: &Metrics, invitations: Option<Invitations>) -> Domain {
    Domain {
        store: Store::open(&dir.join("x.db"), metrics.clone()).unwrap(),
        keys: KeyStore::open(&KeySource::Directory(dir.join("keys"))).unwrap(),
        nodes: Arc::new(OneNode),
        listeners: GatewayListeners::default(),
        hosts: HostPolicy::new(Host::parse("gw.example").unwrap(), BTreeSet::new()),
        allowed_backends: Prefixes::default(),
        admin: "admin.pub".parse().unwrap(),
        invitations,
        quotas: Quotas::default(),
        suspensions: watch::Sender::new(0),
        clock: Clock::system(),
    }
}

/// The private key that goes by this name.
fn key(name: &str) -> PrivateKey {
    let mut seed = [0; 32];
    for (to, from) in seed.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    PrivateKey::from_seed(&seed)
}

fn unsigned(url: &str, body: &str) -> Request<Bytes> {
    let request = Request::post(url).header("content-type", "application/json");
    request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap()
}

fn read(response: Response<Bytes>) -> (StatusCode, Value) {
    let value = match response.body() {
        body if body.is_empty() => Value::Null,
        body => serde_json::from_slice(body).unwrap(),
    };
    (response.status(), value)
}

fn route(subdomain: &str) -> Value {
    json!({ "subdomain": subdomain, "backends": ["[400::1]:80"] })
}
