//! Every error that a method declares can really be come to; what it comes to is declared (`Scene::call` looks).

use time::OffsetDateTime;
use uuid::Uuid;

use super::*;
use crate::api::fault::Kind;
use crate::domain::Invitations;
use crate::store::nodes::{self, NodeCertificateRecord};

/// Whoever asks for what, and the kind of error that it comes to.
type Row = (&'static str, &'static str, Value, Kind);

const MINE: &str = "018f0000-0000-7000-8000-000000000001";
const THEIRS: &str = "018f0000-0000-7000-8000-000000000002";
const NONE: &str = "018f0000-0000-7000-8000-000000000003";

/// A gateway with a route of user1's, one of user2's, who is suspended, and a node `edge1` that has joined.
async fn scene() -> Scene {
    let scene = Scene::with(Some(Invitations { authority: [0; 32], address: None }));
    for (who, host, id) in
        [("user1.pub", "mine.example.org", MINE), ("user2.pub", "theirs.example.org", THEIRS)]
    {
        let route = json!({ "fqdn": host, "backends": ["[400::1]:80"], "id": id });
        scene.call(who, "routes.create", route).await.unwrap();
    }
    scene.call("admin.pub", "admin.suspend", json!({ "user": "user2.pub" })).await.unwrap();
    let now = OffsetDateTime::UNIX_EPOCH;
    let given = NodeCertificateRecord { member: Uuid::from_u128(1), fingerprint: [0; 32], not_after: now };
    scene.store.write("test", move |tx| nodes::join(tx, "edge1", &given, now)).await.unwrap();
    scene
}

/// What a host and its backends may be refused for, with other params `besides`.
fn destinations(method: &'static str, besides: &Value) -> Vec<Row> {
    let many: Vec<String> = (1..=33).map(|port| format!("[400::1]:{port}")).collect();
    let with = |more: Value| {
        let mut params = besides.as_object().unwrap().clone();
        params.extend(more.as_object().unwrap().clone());
        Value::from(params)
    };
    [
        (json!({ "fqdn": "a.example.org", "subdomain": "a" }), Kind::TwoHosts),
        (json!({ "fqdn": "a..example.org" }), Kind::InvalidHost),
        (json!({ "fqdn": "gw.example" }), Kind::HostReserved),
        (json!({ "subdomain": "a", "mode": "passthrough" }), Kind::PassthroughNeedsFqdn),
        (json!({ "fqdn": "a.example.org", "backends": [] }), Kind::BackendMissing),
        (json!({ "fqdn": "a.example.org", "backends": many }), Kind::TooManyBackends),
        (
            json!({ "fqdn": "a.example.org", "backends": ["[400::1]:80", "[400::1]:80"] }),
            Kind::DuplicateBackend,
        ),
        (json!({ "fqdn": "a.example.org", "backends": ["[2001:db8::1]:80"] }), Kind::InvalidBackend),
        (json!({ "fqdn": "a.example.org", "health": { "rise": 0 } }), Kind::InvalidHealth),
        (
            json!({ "fqdn": "a.example.org", "mode": "passthrough", "health": { "path": "/" } }),
            Kind::PassthroughHealth,
        ),
        (
            json!({ "fqdn": "a.example.org", "mode": "passthrough", "host_header": "backend" }),
            Kind::PassthroughOption,
        ),
        (json!({ "fqdn": "theirs.example.org" }), Kind::HostTaken),
    ]
    .into_iter()
    .map(|(params, kind)| ("user1.pub", method, with(params), kind))
    .collect()
}

fn of_routes() -> Vec<Row> {
    let id = |id: &str| json!({ "id": id });
    let create = json!({ "backends": ["[400::1]:80"] });
    let named = |host: &str| json!({ "fqdn": host, "backends": ["[400::1]:80"], "id": MINE });
    let mut rows = destinations("routes.create", &create);
    rows.extend(destinations("routes.update", &id(MINE)));
    let nil = json!({ "subdomain": "a", "backends": ["[400::1]:80"], "id": uuid::Uuid::nil() });
    rows.extend([
        ("user1.pub", "routes.create", nil, Kind::InvalidId),
        ("user1.pub", "routes.create", create.clone(), Kind::HostMissing),
        ("user1.pub", "routes.create", named("other.example.org"), Kind::IdTaken),
        ("user2.pub", "routes.create", named("other.example.org"), Kind::Suspended),
        ("user1.pub", "routes.update", json!({ "id": MINE, "expected_version": 0 }), Kind::StaleVersion),
        ("user1.pub", "routes.delete", json!({ "id": MINE, "expected_version": 0 }), Kind::StaleVersion),
        ("user1.pub", "routes.list", json!({ "limit": 0 }), Kind::InvalidLimit),
        ("user1.pub", "routes.list", json!({ "cursor": "!" }), Kind::InvalidCursor),
        ("user1.pub", "routes.list", json!({ "wait": 1 }), Kind::InvalidWait),
        ("user1.pub", "routes.explain", json!({ "host": "a..b" }), Kind::InvalidHost),
        ("user1.pub", "certificates.list", json!({ "limit": 0 }), Kind::InvalidLimit),
        ("user1.pub", "certificates.list", json!({ "cursor": "!" }), Kind::InvalidCursor),
        ("user1.pub", "certificates.get", id("theirs.example.org"), Kind::CertificateNotFound),
        ("user1.pub", "certificates.renew", id("theirs.example.org"), Kind::CertificateNotFound),
        ("user2.pub", "certificates.renew", id("theirs.example.org"), Kind::Suspended),
        ("user1.pub", "certificates.root", json!({}), Kind::NoInternalCa),
    ]);
    for method in ["routes.get", "routes.update", "routes.delete"] {
        rows.push(("user1.pub", method, id("mine"), Kind::InvalidId));
        rows.push(("user1.pub", method, id(NONE), Kind::RouteNotFound));
        rows.push(("user1.pub", method, id(THEIRS), Kind::RouteNotFound));
    }
    for method in ["routes.update", "routes.delete"] {
        rows.push(("user2.pub", method, id(THEIRS), Kind::Suspended));
    }
    rows
}

fn of_the_admin() -> Vec<Row> {
    let user = |user: &str| json!({ "user": user });
    let until = json!({ "user": "user1.pub", "until": "2001-01-01T00:00:00Z" });
    let invite = |address: &str| json!({ "node": "edge2", "address": address });
    let mut rows = vec![
        ("admin.pub", "admin.suspend", user("admin.pub"), Kind::SuspendAdmin),
        ("admin.pub", "admin.suspend", json!({ "user": "user1.pub", "reason": "\n" }), Kind::InvalidReason),
        ("admin.pub", "admin.suspend", until, Kind::InvalidUntil),
        ("admin.pub", "admin.quota", json!({ "user": "admin.pub", "routes": 1 }), Kind::QuotaAdmin),
        ("admin.pub", "admin.users", json!({ "limit": 1001 }), Kind::InvalidLimit),
        ("admin.pub", "admin.users", json!({ "cursor": "!" }), Kind::InvalidCursor),
        ("admin.pub", "audit.list", json!({ "limit": 501 }), Kind::InvalidLimit),
        ("admin.pub", "audit.export", json!({ "limit": 0 }), Kind::InvalidLimit),
        ("admin.pub", "nodes.invite", json!({ "node": "edge 2" }), Kind::InvalidNode),
        ("admin.pub", "nodes.invite", json!({ "node": "edge2" }), Kind::AddressMissing),
        ("admin.pub", "nodes.invite", invite("nowhere"), Kind::InvalidAddress),
        (
            "admin.pub",
            "nodes.invite",
            json!({ "node": "edge2", "address": "a.b:1", "ttl": 1 }),
            Kind::InvalidTtl,
        ),
        ("admin.pub", "nodes.invite", json!({ "node": "edge1", "address": "a.b:1" }), Kind::NodeTaken),
        ("admin.pub", "nodes.drain", json!({ "node": "edge9", "drain": true }), Kind::NodeNotFound),
        ("admin.pub", "nodes.remove", json!({ "node": "edge9" }), Kind::NodeNotFound),
    ];
    for method in ["admin.suspend", "admin.unsuspend", "admin.quota"] {
        rows.push(("admin.pub", method, user("../x"), Kind::InvalidUser));
        rows.push(("admin.pub", method, user("nobody.pub"), Kind::UserNotFound));
    }
    for entry in methods::TABLE.iter().filter(|entry| entry.errors().any(|kind| kind == Kind::AdminOnly)) {
        rows.push(("user1.pub", entry.name, (entry.examples)().remove(0).params, Kind::AdminOnly));
    }
    rows
}

/// What cannot be had without breaking something, and what every method does alike.
fn is_apart(kind: Kind) -> bool {
    let alike =
        [Kind::InvalidParams, Kind::Internal, Kind::Unavailable, Kind::QuotaExceeded, Kind::RateLimited];
    alike.contains(&kind)
}

#[tokio::test]
async fn every_declared_error_can_be_come_to() {
    let scene = scene().await;
    let mut found = BTreeSet::new();
    for (who, method, params, kind) in of_routes().into_iter().chain(of_the_admin()) {
        let error = scene.call(who, method, params.clone()).await.unwrap_err();
        assert_eq!(error["data"]["kind"], kind.word(), "{method} {params}: {error}");
        found.insert((method, kind.word()));
    }
    let alone = Scene::new();
    let refused = alone.call("admin.pub", "nodes.invite", json!({ "node": "edge2" })).await.unwrap_err();
    assert_eq!(refused["data"]["kind"], "no_remote_nodes");
    found.insert(("nodes.invite", "no_remote_nodes"));
    for entry in &methods::TABLE {
        for kind in entry.errors().filter(|kind| !is_apart(*kind)) {
            assert!(
                found.contains(&(entry.name, kind.word())),
                "no row here has {} come to {kind:?}",
                entry.name
            );
        }
    }
}

#[tokio::test]
async fn whatever_changes_something_is_limited_and_nothing_else() {
    let scene = scene().await;
    for (most, kind) in [(0, Kind::QuotaExceeded), (1, Kind::RateLimited)] {
        let quota = json!({ "user": "user1.pub", "mutations_per_minute": most });
        scene.call("admin.pub", "admin.quota", quota).await.unwrap();
        let the_first = scene.call("user1.pub", "routes.delete", json!({ "id": NONE })).await;
        assert!(the_first.is_err());
        for entry in &methods::TABLE {
            let declared = entry.errors().any(|one| one == kind);
            let answer = scene.call("user1.pub", entry.name, (entry.examples)().remove(0).params).await;
            let limited = answer.is_err_and(|error| error["data"]["kind"] == kind.word());
            assert_eq!(limited, entry.mutates, "{} {kind:?}", entry.name);
            assert!(declared || !limited, "{} does not declare {kind:?}", entry.name);
        }
    }
}

#[tokio::test]
async fn more_than_the_quota_is_refused() {
    let scene = scene().await;
    let quota = json!({ "user": "user1.pub", "routes": 1, "backends": 1 });
    scene.call("admin.pub", "admin.quota", quota).await.unwrap();
    let two = json!({ "id": MINE, "backends": ["[400::1]:80", "[400::2]:80"] });
    for (method, params) in [("routes.create", route("more")), ("routes.update", two)] {
        let error = scene.call("user1.pub", method, params).await.unwrap_err();
        assert_eq!(error["data"]["kind"], "quota_exceeded");
    }
}
