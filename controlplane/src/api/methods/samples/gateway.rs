//! The example values about certificates, nodes and the audit.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use webgateway_proto::api::{
    AuditExport, AuditExportParams, AuditList, AuditListParams, BuildInfo, CertificateRef, CertificateState,
    CertificateView, NodeDrain, NodeInvitation, NodeInvite, NodeList, NodeRef, NodeState, NodeView,
    RootCertificate, method,
};
use webgateway_proto::audit::AuditRecord;
use webgateway_proto::httpsig::Evidence;

use super::constants::{BACKEND, CREATED, NOT_AFTER, ROUTE, USER};
use crate::api::methods::method::Example;

const REQUEST: &str = "5d41402abc4b2a76b9719d911017c592ae2f1a0e6b3c8d7f4e5a9b0c1d2e3f40";

pub(in crate::api::methods) fn certificate() -> CertificateView {
    CertificateView {
        id: "app.example.org".to_owned(),
        names: vec!["app.example.org".to_owned()],
        issuer: "letsencrypt.org".to_owned(),
        state: CertificateState::Valid,
        not_before: Some("2026-03-02T09:31:08Z".to_owned()),
        not_after: Some(NOT_AFTER.to_owned()),
        next_attempt: Some("2026-05-01T09:31:07Z".to_owned()),
        failures: 0,
        last_error: None,
        records: Vec::new(),
    }
}

pub(in crate::api::methods) fn certificate_ref() -> CertificateRef {
    CertificateRef { id: "app.example.org".to_owned() }
}

pub(in crate::api::methods) fn root() -> RootCertificate {
    let pem = "-----BEGIN CERTIFICATE-----\nMIIBnjCCAUSgAwIBAgIUcTJ9…\n-----END CERTIFICATE-----\n";
    RootCertificate { pem: pem.to_owned() }
}

pub(in crate::api::methods) fn nodes() -> NodeList {
    let local = NodeView {
        node: "edge1".to_owned(),
        build: "0.1.0".to_owned(),
        connected: true,
        since: "2026-02-27T04:00:03Z".to_owned(),
        version: 1212,
        address: "unix".to_owned(),
        connections: 318,
        requests: 1_204_551,
        ..NodeView::default()
    };
    let remote = NodeView {
        node: "edge2".to_owned(),
        address: "192.0.2.44".to_owned(),
        version: 1211,
        lag: 1,
        drained: true,
        draining: true,
        certificate_not_after: Some("2026-04-01T00:00:00Z".to_owned()),
        ..local.clone()
    };
    NodeList { version: 1212, nodes: vec![local, remote] }
}

pub(in crate::api::methods) fn invite() -> Example<NodeInvite, NodeInvitation> {
    let (node, address) = ("edge2".to_owned(), "controlplane.example.com:7443".to_owned());
    let params = NodeInvite { node: node.clone(), address: Some(address.clone()), ttl: Some(900) };
    let result = NodeInvitation {
        node,
        token: "wgjoin1_3q2-78r-uvH…".to_owned(),
        address,
        expires_at: "2026-03-02T09:45:00Z".to_owned(),
    };
    Example { name: "A remote node", params, result }
}

pub(in crate::api::methods) fn drain() -> Example<NodeDrain, NodeState> {
    let result = NodeState { node: "edge2".to_owned(), drained: true, removed: false, version: 1212 };
    let params = NodeDrain { node: result.node.clone(), drain: true };
    Example { name: "A drain before an upgrade", params, result }
}

pub(in crate::api::methods) fn remove() -> Example<NodeRef, NodeState> {
    let result = NodeState { node: "edge2".to_owned(), drained: true, removed: true, version: 1213 };
    Example { name: "A node that is no longer needed", params: NodeRef { node: result.node.clone() }, result }
}

fn record() -> AuditRecord {
    let route = json!({ "owner": USER, "host": "myapp.gateway.example.com", "mode": "terminate",
        "balance": "round_robin", "backends": [BACKEND] });
    AuditRecord {
        id: 418,
        at: CREATED.to_owned(),
        caller: USER.to_owned(),
        client: "192.0.2.7".to_owned(),
        method: method::ROUTES_CREATE.to_owned(),
        target: format!("route/{ROUTE}"),
        before: Value::Null,
        after: route,
        revision: 1207,
        request: Some(REQUEST.to_owned()),
        hash: Some("9b74c9897bac770ffc029102a200c5de1b2d6c3f4e5a60718293a4b5c6d7e8f9".to_owned()),
    }
}

pub(in crate::api::methods) fn audit() -> Example<AuditListParams, AuditList> {
    let params = AuditListParams {
        limit: Some(10),
        before: Some(419),
        caller: Some(USER.to_owned()),
        target: Some(format!("route/{ROUTE}")),
    };
    Example { name: "The changes of one route", params, result: AuditList { records: vec![record()] } }
}

pub(in crate::api::methods) fn export() -> Example<AuditExportParams, AuditExport> {
    let evidence = Evidence {
        key: "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA…\n-----END PUBLIC KEY-----\n".to_owned(),
        algorithm: "ed25519".to_owned(),
        base: "\"@method\": POST\n\"@target-uri\": https://gateway.example.com/rpc\n\"content-digest\": …"
            .to_owned(),
        signature: "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu…".to_owned(),
        body: "{\"jsonrpc\":\"2.0\",\"method\":\"routes.create\",…}".to_owned(),
    };
    let requests = BTreeMap::from([(REQUEST.to_owned(), evidence)]);
    let result = AuditExport { records: vec![record()], requests };
    Example { name: "A page", params: AuditExportParams { after: 417, limit: Some(1) }, result }
}

pub(in crate::api::methods) fn build() -> BuildInfo {
    BuildInfo {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        base_domain: Some("gateway.example.org".to_owned()),
    }
}

pub(in crate::api::methods) fn document() -> Value {
    json!({ "openrpc": "1.3.2", "info": { "title": "webgateway", "version": env!("CARGO_PKG_VERSION") }, "methods": [] })
}
