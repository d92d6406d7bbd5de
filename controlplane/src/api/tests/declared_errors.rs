//! Tests that every error that a method declares occurs. [`ApiFixture::call`] checks that every error is declared.

use time::OffsetDateTime;
use uuid::Uuid;

use super::*;
use crate::api::errors::ErrorKind;
use crate::domain::Invitations;
use crate::store::nodes::{self, NodeCertificateRecord};

/// A failing call: the user, the method, the params and the kind of the error.
type FailingCall = (&'static str, &'static str, Value, ErrorKind);

const MINE: &str = "018f0000-0000-7000-8000-000000000001";
const THEIRS: &str = "018f0000-0000-7000-8000-000000000002";
const NONE: &str = "018f0000-0000-7000-8000-000000000003";

/// Creates an API with a route of user1, a route of user2, who is suspended, and a node `edge1` that has joined.
async fn fixture_with_routes() -> ApiFixture {
    let fixture = ApiFixture::with_invitations(Some(Invitations { authority: [0; 32], address: None }));
    for (user, host, id) in
        [("user1.pub", "mine.example.org", MINE), ("user2.pub", "theirs.example.org", THEIRS)]
    {
        let route = json!({ "fqdn": host, "backends": ["[400::1]:80"], "id": id });
        fixture.call(user, "routes.create", route).await.unwrap();
    }
    fixture.call("admin.pub", "admin.suspend", json!({ "user": "user2.pub" })).await.unwrap();
    let now = OffsetDateTime::UNIX_EPOCH;
    let certificate =
        NodeCertificateRecord { member: Uuid::from_u128(1), fingerprint: [0; 32], not_after: now };
    fixture.store.write("test", move |tx| nodes::join(tx, "edge1", &certificate, now)).await.unwrap();
    fixture
}

/// Returns the calls that fail because of the host or the backends. They also have the params `common`.
fn destination_errors(method: &'static str, common: &Value) -> Vec<FailingCall> {
    let many: Vec<String> = (1..=33).map(|port| format!("[400::1]:{port}")).collect();
    let with = |more: Value| {
        let mut params = common.as_object().unwrap().clone();
        params.extend(more.as_object().unwrap().clone());
        Value::from(params)
    };
    [
        (json!({ "fqdn": "a.example.org", "subdomain": "a" }), ErrorKind::TwoHosts),
        (json!({ "fqdn": "a..example.org" }), ErrorKind::InvalidHost),
        (json!({ "fqdn": "gw.example" }), ErrorKind::HostReserved),
        (json!({ "subdomain": "a", "mode": "passthrough" }), ErrorKind::PassthroughNeedsFqdn),
        (json!({ "fqdn": "a.example.org", "backends": [] }), ErrorKind::BackendMissing),
        (json!({ "fqdn": "a.example.org", "backends": many }), ErrorKind::TooManyBackends),
        (
            json!({ "fqdn": "a.example.org", "backends": ["[400::1]:80", "[400::1]:80"] }),
            ErrorKind::DuplicateBackend,
        ),
        (json!({ "fqdn": "a.example.org", "backends": ["[2001:db8::1]:80"] }), ErrorKind::InvalidBackend),
        (json!({ "fqdn": "a.example.org", "health": { "rise": 0 } }), ErrorKind::InvalidHealth),
        (
            json!({ "fqdn": "a.example.org", "mode": "passthrough", "health": { "path": "/" } }),
            ErrorKind::PassthroughHealth,
        ),
        (
            json!({ "fqdn": "a.example.org", "mode": "passthrough", "host_header": "backend" }),
            ErrorKind::PassthroughOption,
        ),
        (json!({ "fqdn": "theirs.example.org" }), ErrorKind::HostTaken),
        (json!({ "fqdn": "below.theirs.example.org" }), ErrorKind::HostNested),
    ]
    .into_iter()
    .map(|(params, kind)| ("user1.pub", method, with(params), kind))
    .collect()
}

fn user_errors() -> Vec<FailingCall> {
    let id = |id: &str| json!({ "id": id });
    let create = json!({ "backends": ["[400::1]:80"] });
    let named = |host: &str| json!({ "fqdn": host, "backends": ["[400::1]:80"], "id": MINE });
    let mut calls = destination_errors("routes.create", &create);
    calls.extend(destination_errors("routes.update", &id(MINE)));
    let nil = json!({ "subdomain": "a", "backends": ["[400::1]:80"], "id": uuid::Uuid::nil() });
    calls.extend([
        ("user1.pub", "routes.create", nil, ErrorKind::InvalidId),
        ("user1.pub", "routes.create", create.clone(), ErrorKind::HostMissing),
        ("user1.pub", "routes.create", named("other.example.org"), ErrorKind::IdTaken),
        ("user2.pub", "routes.create", named("other.example.org"), ErrorKind::Suspended),
        ("user1.pub", "routes.update", json!({ "id": MINE, "expected_version": 0 }), ErrorKind::StaleVersion),
        ("user1.pub", "routes.delete", json!({ "id": MINE, "expected_version": 0 }), ErrorKind::StaleVersion),
        ("user1.pub", "routes.list", json!({ "limit": 0 }), ErrorKind::InvalidLimit),
        ("user1.pub", "routes.list", json!({ "cursor": "!" }), ErrorKind::InvalidCursor),
        ("user1.pub", "routes.list", json!({ "wait": 1 }), ErrorKind::InvalidWait),
        ("user1.pub", "routes.explain", json!({ "host": "a..b" }), ErrorKind::InvalidHost),
        ("user1.pub", "certificates.list", json!({ "limit": 0 }), ErrorKind::InvalidLimit),
        ("user1.pub", "certificates.list", json!({ "cursor": "!" }), ErrorKind::InvalidCursor),
        ("user1.pub", "certificates.get", id("theirs.example.org"), ErrorKind::CertificateNotFound),
        ("user1.pub", "certificates.renew", id("theirs.example.org"), ErrorKind::CertificateNotFound),
        ("user2.pub", "certificates.renew", id("theirs.example.org"), ErrorKind::Suspended),
        ("user1.pub", "certificates.root", json!({}), ErrorKind::NoInternalCa),
    ]);
    for method in ["routes.get", "routes.update", "routes.delete"] {
        calls.push(("user1.pub", method, id("mine"), ErrorKind::InvalidId));
        calls.push(("user1.pub", method, id(NONE), ErrorKind::RouteNotFound));
        calls.push(("user1.pub", method, id(THEIRS), ErrorKind::RouteNotFound));
    }
    for method in ["routes.stats", "routes.logs"] {
        calls.push(("user1.pub", method, json!({ "host": "-" }), ErrorKind::InvalidHost));
        calls.push(("user1.pub", method, json!({ "host": "nothing.example" }), ErrorKind::RouteNotFound));
    }
    for limit in [0, 1001] {
        calls.push(("user1.pub", "routes.stats", json!({ "limit": limit }), ErrorKind::InvalidLimit));
    }
    for params in [json!({ "wait": 1 }), json!({ "after": 1, "wait": 0 }), json!({ "after": 1, "wait": 21 })]
    {
        let mut params = params;
        params["host"] = json!("nothing.example");
        calls.push(("user1.pub", "routes.logs", params, ErrorKind::InvalidWait));
    }
    for method in ["routes.update", "routes.delete"] {
        calls.push(("user2.pub", method, id(THEIRS), ErrorKind::Suspended));
    }
    calls
}

fn admin_errors() -> Vec<FailingCall> {
    let user = |user: &str| json!({ "user": user });
    let until = json!({ "user": "user1.pub", "until": "2001-01-01T00:00:00Z" });
    let invite = |address: &str| json!({ "node": "edge2", "address": address });
    let mut calls = vec![
        ("admin.pub", "admin.suspend", user("admin.pub"), ErrorKind::SuspendAdmin),
        (
            "admin.pub",
            "admin.suspend",
            json!({ "user": "user1.pub", "reason": "\n" }),
            ErrorKind::InvalidReason,
        ),
        ("admin.pub", "admin.suspend", until, ErrorKind::InvalidUntil),
        ("admin.pub", "admin.quota", json!({ "user": "admin.pub", "routes": 1 }), ErrorKind::QuotaAdmin),
        ("admin.pub", "admin.users", json!({ "limit": 1001 }), ErrorKind::InvalidLimit),
        ("admin.pub", "admin.users", json!({ "cursor": "!" }), ErrorKind::InvalidCursor),
        ("admin.pub", "audit.list", json!({ "limit": 501 }), ErrorKind::InvalidLimit),
        ("admin.pub", "audit.export", json!({ "limit": 0 }), ErrorKind::InvalidLimit),
        ("admin.pub", "nodes.invite", json!({ "node": "edge 2" }), ErrorKind::InvalidNode),
        ("admin.pub", "nodes.invite", json!({ "node": "edge2" }), ErrorKind::AddressMissing),
        ("admin.pub", "nodes.invite", invite("nowhere"), ErrorKind::InvalidAddress),
        (
            "admin.pub",
            "nodes.invite",
            json!({ "node": "edge2", "address": "a.b:1", "ttl": 1 }),
            ErrorKind::InvalidTtl,
        ),
        ("admin.pub", "nodes.invite", json!({ "node": "edge1", "address": "a.b:1" }), ErrorKind::NodeTaken),
        ("admin.pub", "nodes.drain", json!({ "node": "edge9", "drain": true }), ErrorKind::NodeNotFound),
        ("admin.pub", "nodes.remove", json!({ "node": "edge9" }), ErrorKind::NodeNotFound),
    ];
    for method in ["admin.suspend", "admin.unsuspend", "admin.quota"] {
        calls.push(("admin.pub", method, user("../x"), ErrorKind::InvalidUser));
        calls.push(("admin.pub", method, user("nobody.pub"), ErrorKind::UserNotFound));
    }
    for entry in methods::TABLE.iter().filter(|entry| entry.errors().any(|kind| kind == ErrorKind::AdminOnly))
    {
        calls.push(("user1.pub", entry.name, (entry.examples)().remove(0).params, ErrorKind::AdminOnly));
    }
    calls
}

/// Returns true for errors of all methods alike, and for those that need a broken gateway. Other tests cover them.
fn is_tested_elsewhere(kind: ErrorKind) -> bool {
    let common = [
        ErrorKind::InvalidParams,
        ErrorKind::Internal,
        ErrorKind::Unavailable,
        ErrorKind::QuotaExceeded,
        ErrorKind::RateLimited,
    ];
    common.contains(&kind)
}

#[tokio::test]
async fn every_declared_error_occurs() {
    let fixture = fixture_with_routes().await;
    let mut found = BTreeSet::new();
    for (user, method, params, kind) in user_errors().into_iter().chain(admin_errors()) {
        let error = fixture.call(user, method, params.clone()).await.unwrap_err();
        assert_eq!(error["data"]["kind"], kind.as_str(), "{method} {params}: {error}");
        found.insert((method, kind.as_str()));
    }
    let without_invitations = ApiFixture::new();
    let refused =
        without_invitations.call("admin.pub", "nodes.invite", json!({ "node": "edge2" })).await.unwrap_err();
    assert_eq!(refused["data"]["kind"], "no_remote_nodes");
    found.insert(("nodes.invite", "no_remote_nodes"));
    for entry in &methods::TABLE {
        for kind in entry.errors().filter(|kind| !is_tested_elsewhere(*kind)) {
            assert!(
                found.contains(&(entry.name, kind.as_str())),
                "no call in this file has {} fail with {kind:?}",
                entry.name
            );
        }
    }
}

#[tokio::test]
async fn mutations_are_rate_limited_and_reads_are_not() {
    let fixture = fixture_with_routes().await;
    for (most, kind) in [(0, ErrorKind::QuotaExceeded), (1, ErrorKind::RateLimited)] {
        let quota = json!({ "user": "user1.pub", "mutations_per_minute": most });
        fixture.call("admin.pub", "admin.quota", quota).await.unwrap();
        let first = fixture.call("user1.pub", "routes.delete", json!({ "id": NONE })).await;
        assert!(first.is_err());
        for entry in &methods::TABLE {
            let declared = entry.errors().any(|one| one == kind);
            let outcome = fixture.call("user1.pub", entry.name, (entry.examples)().remove(0).params).await;
            let limited = outcome.is_err_and(|error| error["data"]["kind"] == kind.as_str());
            assert_eq!(limited, entry.mutates, "{} {kind:?}", entry.name);
            assert!(declared || !limited, "{} does not declare {kind:?}", entry.name);
        }
    }
}

#[tokio::test]
async fn routes_and_backends_above_the_quota_are_refused() {
    let fixture = fixture_with_routes().await;
    let quota = json!({ "user": "user1.pub", "routes": 1, "backends": 1 });
    fixture.call("admin.pub", "admin.quota", quota).await.unwrap();
    let two = json!({ "id": MINE, "backends": ["[400::1]:80", "[400::2]:80"] });
    for (method, params) in [("routes.create", route("more")), ("routes.update", two)] {
        let error = fixture.call("user1.pub", method, params).await.unwrap_err();
        assert_eq!(error["data"]["kind"], "quota_exceeded");
    }
}
