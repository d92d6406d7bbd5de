//! The fuzz target `envelope`: every call has one valid response, a notification has none, and no input causes an
//! internal error.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use prometheus_client::registry::Registry;
use serde_json::Value;
use serde_json::value::RawValue;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use webgateway_process::Stop;
use webgateway_proto::api::jsonrpc::code;
use webgateway_proto::httpsig::{PrivateKey, sign};
use webgateway_proto::model::{Host, KeyId, Prefixes};

use super::jsonrpc::{ParsedCall, RequestBody};
use super::{Api, ApiParts, RequestSource};
use crate::clock::Clock;
use crate::config::KeySource;
use crate::domain::{
    AckProgress, AckTarget, ClaimPolicy, Domain, GatewayListeners, HostPolicy, NodeDirectory,
    NodeExplanation, NodeStatus, Quotas,
};
use crate::keys::KeyStore;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::traffic::TrafficState;

const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// The names of the keys that sign requests.
const KEYS: [&str; 2] = ["user1.pub", "admin.pub"];

thread_local! {
    static GATEWAY: LazyCell<FuzzGateway> =
        LazyCell::new(|| FuzzGateway::new().unwrap_or_else(|error| unreachable!("{error}")));
}

/// An API with a database of its own and no nodes. The process is stopping, so no call waits.
struct FuzzGateway {
    runtime: Runtime,
    api: Api,
    _dir: TempDir,
}

#[derive(Debug)]
struct EmptyDirectory;

#[async_trait::async_trait]
impl NodeDirectory for EmptyDirectory {
    fn nodes(&self) -> Vec<NodeStatus> {
        vec![]
    }

    async fn wait_acked(&self, _: &AckTarget, _: Duration) -> AckProgress {
        AckProgress { acked: 0, pending: vec![], rejects: vec![] }
    }

    async fn explain(&self, _: &Host, _: Duration) -> Vec<NodeExplanation> {
        vec![]
    }
}

impl FuzzGateway {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let dir = TempDir::new()?;
        let metrics = Metrics::register(&mut Registry::default());
        let keys = dir.path().join("keys");
        fs::create_dir(&keys)?;
        for name in KEYS {
            fs::write(keys.join(name), key(name).public().to_pem())?;
        }
        let stop = Stop::new();
        stop.begin();
        let domain = Domain {
            store: Store::open(&dir.path().join("x.db"), metrics.clone())?,
            keys: KeyStore::open(&KeySource::Directory(keys))?,
            nodes: Arc::new(EmptyDirectory),
            listeners: GatewayListeners::default(),
            hosts: HostPolicy::new(Host::parse("gw.example")?, BTreeSet::new()),
            claims: ClaimPolicy::trusting(),
            allowed_backends: Prefixes::default(),
            route_limits: crate::config::RouteLimits::default(),
            admin: "admin.pub".parse()?,
            invitations: None,
            quotas: Quotas::default(),
            suspensions: watch::Sender::new(0),
            traffic: TrafficState::default(),
            clock: Clock::system(),
        };
        let api = Api::new(ApiParts { domain, metrics, stop, required: vec![] });
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, api, _dir: dir })
    }

    fn send(&self, signer: Option<&str>, body: &[u8]) -> Response<Bytes> {
        let mut request = Request::new(Bytes::copy_from_slice(body));
        *request.method_mut() = ::http::Method::POST;
        *request.uri_mut() = ::http::Uri::from_static("http://localhost:8080/rpc");
        if let Some((signer, id)) = signer.and_then(|name| Some((name, name.parse::<KeyId>().ok()?))) {
            let (now, nonce) = (Clock::system().now().unix_timestamp(), uuid::Uuid::now_v7().to_string());
            assert!(sign(&mut request, &key(signer), &id, now, &nonce).is_ok());
        }
        let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
        self.runtime.block_on(self.api.handle(request, RequestSource::Rpc { local: LOCAL }, client))
    }
}

/// Sends a request. The first byte of the input selects the signer (nobody, a user or the admin), the rest is the body.
pub(crate) fn envelope(input: &[u8]) {
    let Some((signer, body)) = input.split_first() else { return };
    let signer = KEYS.get(usize::from(signer % 3).wrapping_sub(1)).copied();
    let response = GATEWAY.with(|gateway| gateway.send(signer, body));
    let (status, text) = (response.status(), response.body());
    let ids = |entries: &[ParsedCall]| entries.iter().filter_map(response_id).collect::<Vec<_>>();
    let (expected, is_batch) = match RequestBody::parse(body) {
        _ if status == StatusCode::UNAUTHORIZED => (vec!["null".to_owned()], false),
        Ok(RequestBody::Single(entry)) => (ids(&[entry]), false),
        Ok(RequestBody::Batch(entries)) => (ids(&entries), true),
        Err(_) => (vec!["null".to_owned()], false),
    };
    if expected.is_empty() {
        return assert!(status == StatusCode::NO_CONTENT && text.is_empty(), "{status} {text:?}");
    }
    assert!(status == StatusCode::OK || signer.is_none() && status == StatusCode::UNAUTHORIZED, "{status}");
    let responses: Vec<&RawValue> = match is_batch {
        true => serde_json::from_slice(text).unwrap_or_else(|error| unreachable!("{error}: {text:?}")),
        false => vec![serde_json::from_slice(text).unwrap_or_else(|error| unreachable!("{error}: {text:?}"))],
    };
    assert_eq!(responses.len(), expected.len(), "{text:?}");
    for (response, id) in responses.into_iter().zip(expected) {
        assert_is_response(response, &id);
    }
}

/// Returns the id of the response to a valid or invalid call; `None` for a notification.
fn response_id(entry: &ParsedCall) -> Option<String> {
    let id = match entry {
        Ok(call) => call.id.clone(),
        Err(error) => error.id(),
    };
    id.map(|id| id.get().to_owned())
}

fn assert_is_response(response: &RawValue, id: &str) {
    let text = response.get();
    let members: std::collections::BTreeMap<String, &RawValue> =
        serde_json::from_str(text).unwrap_or_else(|error| unreachable!("{error}: {text}"));
    let member = |name: &str| members.get(name).map(|value| value.get());
    assert_eq!(member("jsonrpc"), Some("\"2.0\""), "{text}");
    assert_eq!(member("id"), Some(id), "{text}");
    assert_eq!(members.len(), 3, "{text}");
    assert!(member("result").is_some() != member("error").is_some(), "{text}");
    if let Some(error) = member("error") {
        let error: Value = serde_json::from_str(error).unwrap_or_default();
        assert!(error["code"].is_i64() && error["code"] != code::INTERNAL_ERROR, "{text}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{text}");
        assert!(error["data"]["kind"].is_string(), "{text}");
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
