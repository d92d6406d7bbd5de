//! Responses of the gateway and of other servers, and the resulting errors.

use serde_json::json;

use crate::gateway::{Gateway, Reply};
use crate::program::{Program, RunOutput};

fn list(reply: impl Fn() -> Reply + Send + 'static) -> RunOutput {
    let gateway = Gateway::start(move |_| reply());
    Program::new().call(&gateway.url(), &["routes", "list"])
}

#[test]
fn each_error_code_has_its_exit_code() {
    for (status, code, exit) in [
        (401, -32001, 4),
        (200, -32003, 5),
        (200, -32004, 6),
        (200, -32009, 7),
        (200, -32602, 8),
        (503, -32050, 3),
        (200, -32603, 1),
    ] {
        let output = list(move || Reply::error(status, code, json!({ "kind": "k" })));
        assert_eq!(output.code, exit, "{code}: {}", output.stderr);
        assert!(output.stderr.starts_with("error: it was refused"), "{}", output.stderr);
    }
}

#[test]
fn an_api_errors_field_and_hint_are_shown() {
    let data = || json!({ "kind": "host_taken", "field": "subdomain", "hint": "choose another" });
    let gateway = Gateway::start(move |_| Reply::error(200, -32009, data()));
    let create = ["routes", "create", "-s", "a", "-b", "[400::1]:80"];
    let program = Program::new();
    let output = program.call(&gateway.url(), &create);
    assert_eq!(output.stderr, "error: -s/--subdomain: it was refused\n  hint: choose another\n");
    let error = program.call(&gateway.url(), &[create.as_slice(), &["-o", "json"]].concat()).error();
    let expected = json!({
        "exit_code": 7, "kind": "host_taken", "message": "it was refused",
        "field": "subdomain", "flag": "-s/--subdomain", "hint": "choose another",
    });
    assert_eq!(error, expected);
}

#[test]
fn a_response_that_is_not_json_rpc_is_described_by_its_status() {
    for (status, exit, hint) in [
        (401, 4, "public key"),
        (403, 5, "operator"),
        (404, 1, "/rpc"),
        (413, 1, "as too large"),
        (429, 3, "try again later"),
        (502, 3, "gateway is running"),
        (503, 3, "gateway is running"),
        (200, 1, "/rpc"),
    ] {
        let output = list(move || Reply::Http(status, "text/html", vec![], "<h1>no</h1>".into()));
        assert_eq!(output.code, exit, "{status}: {}", output.stderr);
        assert!(output.stderr.contains(&format!("HTTP {status}")), "{status}: {}", output.stderr);
        assert!(output.stderr.contains(hint), "{status}: {}", output.stderr);
    }
}

#[test]
fn a_503_of_a_proxy_shows_its_cause() {
    let lines = vec!["proxy-status: gw; error=destination_unavailable".to_owned()];
    let output = list(move || Reply::Http(503, "text/html", lines.clone(), String::new()));
    assert!(output.stderr.contains("error=destination_unavailable"), "{}", output.stderr);
    let lines = vec!["proxy-status: gw; error=destination_unavailable".to_owned()];
    let text = "503 Service Unavailable\nThe API is not available now: the controlplane is away.\n";
    let output = list(move || Reply::Http(503, "text/plain; charset=utf-8", lines.clone(), text.to_owned()));
    assert!(output.stderr.contains("not JSON-RPC: The API is not available now: the"), "{}", output.stderr);
    assert!(output.stderr.contains("try again later"), "{}", output.stderr);
}

#[test]
fn a_redirect_is_reported_and_not_followed() {
    let lines = vec!["location: https://gateway.example.com/rpc".to_owned()];
    let output = list(move || Reply::Http(308, "text/html", lines.clone(), String::new()));
    assert_eq!(output.code, 1);
    assert!(
        output.stderr.contains("https://gateway.example.com/rpc: give this URL with -u"),
        "{}",
        output.stderr
    );
}

#[test]
fn a_response_that_is_too_large_is_an_error() {
    let big = || Reply::Http(200, "application/json", vec![], " ".repeat(17 * 1024 * 1024));
    let output = list(big);
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("larger than 16 MiB"), "{}", output.stderr);
}

#[test]
fn a_server_that_does_not_speak_http_is_reported() {
    let output = list(|| Reply::Raw(b"SSH-2.0-OpenSSH_9.6\r\n"));
    assert_eq!(output.code, 3);
    assert!(output.stderr.contains("does not respond with HTTP"), "{}", output.stderr);
}

#[test]
fn an_unexpected_result_is_reported() {
    let output = list(|| Reply::result(json!({ "routes": 7 })));
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("has an unexpected format"), "{}", output.stderr);
}

#[test]
fn yaml_has_the_same_content_as_json() {
    let route =
        json!({ "routes": [{ "id": "0", "host": "yes", "backends": ["[400::1]:80"], "note": "a: #b\n c" }] });
    let gateway = Gateway::with_result(route.clone());
    let output = Program::new().call(&gateway.url(), &["routes", "list", "-o", "yaml"]);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    assert_ne!(output.stdout.chars().next(), Some('{'));
    let read: serde_json::Value = serde_saphyr::from_str(&output.stdout).unwrap();
    assert_eq!(read, route, "{}", output.stdout);
}
