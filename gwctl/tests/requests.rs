//! Tests of the requests on the wire: method, params, signature.

use serde_json::{Value, json};
use uuid::{Uuid, Version};

use crate::gateway::Gateway;
use crate::program::{Program, public_key};

const ID: &str = "01999999-9999-7999-8999-999999999999";

fn route() -> Value {
    json!({
        "id": ID, "owner": "user1.pub", "host": "myapp.gw.example", "mode": "terminate", "balance": "round_robin",
        "backends": ["[54f::1]:8080"], "state": "active", "version": 3,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
    })
}

#[test]
fn every_command_sends_its_method_and_params_signed() {
    let program = Program::new();
    let user = json!({ "user": "user2.pub", "suspended": true, "routes": 2, "version": 4 });
    let certificate = json!({
        "id": "app.example.org", "names": ["app.example.org"], "issuer": "acme", "state": "valid", "failures": 0,
    });
    let app = json!({ "id": "app.example.org" });
    let on = ["routes", "update", "-r", ID, "-t"].as_slice();
    let off = ["routes", "update", "-r", ID, "-t=false", "-m", "random", "-b", "[400::2]:80"].as_slice();
    for (words, method, params, result) in [
        (["routes", "list"].as_slice(), "routes.list", json!({}), json!({ "routes": [route()] })),
        (&["routes", "get", "-r", ID], "routes.get", json!({ "id": ID }), route()),
        (&["routes", "delete", "--route", ID], "routes.delete", json!({ "id": ID }), Value::Null),
        (on, "routes.update", json!({ "id": ID, "mode": "passthrough" }), route()),
        (
            off,
            "routes.update",
            json!({ "id": ID, "mode": "terminate", "balance": "random", "backends": ["[400::2]:80"] }),
            route(),
        ),
        (&["certificates", "list"], "certificates.list", json!({}), json!({ "certificates": [certificate] })),
        (
            &["certificates", "get", "-c", "App.example.org."],
            "certificates.get",
            app.clone(),
            certificate.clone(),
        ),
        (&["certificates", "renew", "-c", "app.example.org"], "certificates.renew", app, certificate),
        (&["certificates", "root"], "certificates.root", json!({}), json!({ "pem": "" })),
        (
            &["admin", "suspend", "--user", "user2.pub"],
            "admin.suspend",
            json!({ "user": "user2.pub" }),
            user.clone(),
        ),
        (
            &["admin", "unsuspend", "--user", "user2.pub"],
            "admin.unsuspend",
            json!({ "user": "user2.pub" }),
            user,
        ),
    ] {
        let gateway = Gateway::with_result(result);
        let output = program.call(&gateway.url(), words);
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{words:?}");
        let [request] = gateway.received().try_into().unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/rpc"));
        let body = request.json();
        assert_eq!((&body["method"], &body["params"]), (&json!(method), &params), "{words:?}");
        let signed = request.verify("http", &public_key()).unwrap();
        assert_eq!(signed.key_id().as_str(), "user1.pub");
        assert!(signed.nonce().unwrap().is_some());
    }
}

#[test]
fn a_route_is_created_with_a_generated_id() {
    let program = Program::new();
    let gateway = Gateway::with_result(route());
    let output = program.call(&gateway.url(), &["routes", "create", "-s", "MyApp", "-b", "[54f:0::1]:8080"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(
        output.stdout.starts_with("https://myapp.gw.example/\n") && output.stdout.contains(ID),
        "{}",
        output.stdout
    );
    let params = gateway.received()[0].json()["params"].clone();
    assert_eq!((&params["subdomain"], &params["backends"]), (&json!("myapp"), &json!(["[54f::1]:8080"])));
    let id = Uuid::try_parse(params["id"].as_str().unwrap()).unwrap();
    assert_eq!(id.get_version(), Some(Version::SortRand));
}

#[test]
fn every_request_has_its_own_nonce() {
    let program = Program::new();
    let gateway = Gateway::with_result(json!({ "routes": [] }));
    for _ in 0..2 {
        assert!(program.call(&gateway.url(), &["routes", "list"]).stdout.starts_with("No routes yet."));
    }
    let nonces: Vec<String> = gateway
        .received()
        .iter()
        .map(|request| request.verify("http", &public_key()).unwrap().nonce().unwrap().unwrap().to_owned())
        .collect();
    assert_ne!(nonces[0], nonces[1]);
}

#[test]
fn health_and_version_need_no_key() {
    let program = Program::new();
    let gateway = Gateway::with_result(json!({ "status": "ok", "nodes": 2 }));
    let output = program.run(&["-u", &gateway.url(), "health"]);
    assert_eq!((output.code, output.stdout.as_str()), (0, "ok, 2 nodes connected\n"));
    assert!(!gateway.received()[0].headers.contains_key("signature"));

    let gateway = Gateway::with_result(json!({ "status": "degraded", "nodes": 0 }));
    assert_eq!(program.run(&["-u", &gateway.url(), "health"]).code, 3);

    let gateway = Gateway::with_result(json!({ "name": "webgateway-controlplane", "version": "9.9.9" }));
    let output = program.run(&["-u", &gateway.url(), "version"]);
    let own = env!("CARGO_PKG_VERSION");
    assert_eq!(output.stdout, format!("gwctl {own}\nwebgateway-controlplane 9.9.9\n"));
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
}

#[test]
fn json_output_is_the_gateways_result_unchanged() {
    let program = Program::new();
    let newer = json!({ "routes": [], "next": "a field of a newer gateway" });
    let gateway = Gateway::with_result(newer.clone());
    let output = program.call(&gateway.url(), &["routes", "list", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&output.stdout).unwrap(), newer);
}

#[test]
fn verbose_shows_the_signature_base_and_never_the_key() {
    let program = Program::new();
    let gateway = Gateway::with_result(json!({ "routes": [] }));
    let output = program.call(&gateway.url(), &["-v", "routes", "list"]);
    for shown in ["> POST http://127.0.0.1:", "> signature: sig1=:", "| \"@method\": POST", "< HTTP/1.1 200"]
    {
        assert!(output.stderr.contains(shown), "{shown} is not in:\n{}", output.stderr);
    }
    let key = std::fs::read_to_string(program.directory().join("user1.priv")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    assert!(!secret.is_empty() && !output.stderr.contains(secret) && !output.stdout.contains(secret));
}

#[test]
fn environment_variables_replace_flags() {
    let program = Program::new();
    let gateway = Gateway::with_result(json!({ "routes": [] }));
    let url = gateway.url();
    let variables =
        [("WEBGATEWAY_URL", &*url), ("WEBGATEWAY_ID", "other.pub"), ("WEBGATEWAY_KEY", "user1.priv")];
    assert_eq!(program.run_with(&["routes", "list"], &variables).code, 0);
    let signed = gateway.received()[0].verify("http", &public_key()).unwrap();
    assert_eq!(signed.key_id().as_str(), "other.pub");
}

#[test]
fn the_root_certificate_is_printed_unchanged() {
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let gateway = Gateway::with_result(json!({ "pem": pem }));
    let output = Program::new().call(&gateway.url(), &["certificates", "root"]);
    assert_eq!((output.code, output.stdout.as_str()), (0, pem));
}
