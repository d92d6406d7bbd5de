//! Tests of the API in process, with real keys, signatures and databases.

mod declared_errors;
mod http;
mod long_poll;
mod rpc;
mod signature_forms;
mod signatures;
mod specification;

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
    AckProgress, AckTarget, ClaimPolicy, Domain, GatewayListeners, HostPolicy, Invitations, NodeDirectory,
    NodeExplanation, NodeReject, NodeStatus, Quotas,
};
use crate::keys::KeyStore;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::traffic::TrafficState;

const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const RPC: RequestSource = RequestSource::Rpc { local: LOCAL };
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const URL: &str = "http://localhost:8080/rpc";

struct ApiFixture {
    api: Api,
    store: Store,
    metrics: Metrics,
    registry: Registry,
    stop: Stop,
    dir: TempDir,
    nonces: AtomicU64,
}

#[derive(Debug)]
struct SingleNodeDirectory;

#[async_trait::async_trait]
impl NodeDirectory for SingleNodeDirectory {
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
        let reject = |_| NodeReject { node: "n1".into(), reason: "unknown option".into() };
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

impl ApiFixture {
    /// Creates an API with the keys `admin.pub`, `user1.pub` and `user2.pub`.
    fn new() -> Self {
        Self::with_invitations(None)
    }

    /// Creates an API that may invite nodes.
    fn with_invitations(invitations: Option<Invitations>) -> Self {
        Self::build(invitations, vec![])
    }

    /// Creates an API whose signatures must also cover `required`.
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
        let api = Api::new(ApiParts { domain, metrics: metrics.clone(), stop: stop.clone(), required });
        Self { api, store, metrics, registry, stop, dir, nonces: AtomicU64::default() }
    }

    fn nonce(&self) -> String {
        format!("n{}", self.nonces.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns a request to `url` with `body`, signed with the key `user`.
    fn signed(&self, user: &str, url: &str, body: &str) -> Request<Bytes> {
        let mut request = unsigned(url, body);
        let now = Clock::system().now().unix_timestamp();
        sign(&mut request, &key(user), &user.parse().unwrap(), now, &self.nonce()).unwrap();
        request
    }

    /// Restarts the API on the same database and keys.
    fn restarted(self) -> Self {
        let Self { api, store, dir, .. } = self;
        drop((api, store));
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let domain = domain(dir.path(), &metrics, None);
        let (store, stop) = (domain.store.clone(), Stop::new());
        let api =
            Api::new(ApiParts { domain, metrics: metrics.clone(), stop: stop.clone(), required: vec![] });
        Self { api, store, metrics, registry, stop, dir, nonces: AtomicU64::new(1 << 32) }
    }

    async fn send(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.api.handle(request, RPC, CLIENT).await
    }

    /// Sends `body`, signed with the key `user`, and returns the status and body of the response.
    async fn post(&self, user: &str, body: &str) -> (StatusCode, Value) {
        status_and_body(self.send(self.signed(user, URL, body)).await)
    }

    /// Calls a method and returns its result or its error, which the method must declare.
    async fn call(&self, user: &str, method: &str, params: Value) -> Result<Value, Value> {
        let body = json!({ "jsonrpc": "2.0", "method": method, "params": params, "id": 1 });
        let (status, mut response) = self.post(user, &body.to_string()).await;
        assert_eq!(status, StatusCode::OK, "{response}");
        match response["error"].take() {
            Value::Null => Ok(response["result"].take()),
            error => {
                let is_declared = |entry: &methods::MethodEntry| {
                    entry.errors().any(|kind| error["data"]["kind"] == kind.as_str())
                };
                assert!(methods::find(method).is_none_or(is_declared), "{method} does not declare {error}");
                Err(error)
            }
        }
    }

    /// Returns how many requests and connections were refused for `reason`, from the metrics.
    fn refused_count(&self, reason: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let line = format!("webgateway_api_refused_total{{reason=\"{reason}\"}} ");
        text.lines().find_map(|l| l.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
    }
}

/// Creates the domain with the database and the keys in `dir`.
fn domain(dir: &Path, metrics: &Metrics, invitations: Option<Invitations>) -> Domain {
    Domain {
        store: Store::open(&dir.join("x.db"), metrics.clone()).unwrap(),
        keys: KeyStore::open(&KeySource::Directory(dir.join("keys"))).unwrap(),
        nodes: Arc::new(SingleNodeDirectory),
        listeners: GatewayListeners::default(),
        hosts: HostPolicy::new(Host::parse("gw.example").unwrap(), BTreeSet::new()),
        claims: ClaimPolicy::trusting(),
        allowed_backends: Prefixes::default(),
        route_limits: crate::config::RouteLimits::default(),
        admin: "admin.pub".parse().unwrap(),
        invitations,
        quotas: Quotas::default(),
        suspensions: watch::Sender::new(0),
        traffic: TrafficState::default(),
        clock: Clock::system(),
    }
}

/// Returns the private key for this name.
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

fn status_and_body(response: Response<Bytes>) -> (StatusCode, Value) {
    let value = match response.body() {
        body if body.is_empty() => Value::Null,
        body => serde_json::from_slice(body).unwrap(),
    };
    (response.status(), value)
}

fn route(subdomain: &str) -> Value {
    json!({ "subdomain": subdomain, "backends": ["[400::1]:80"] })
}
