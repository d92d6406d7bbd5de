//! Tests of authentication: each failed requirement is a 401 with its own kind.

use ::http::header::{HOST, HeaderValue};
use ::http::{Method, Uri};

use super::*;
use crate::store::{Tx, routes};

pub(super) const LIST: &str = r#"{"jsonrpc":"2.0","method":"routes.list","id":1}"#;

pub(super) fn create(subdomain: &str) -> String {
    json!({ "jsonrpc": "2.0", "method": "routes.create", "params": route(subdomain), "id": 1 }).to_string()
}

/// Checks that the response is a 401 with `Accept-Signature`, and returns the kind of its error.
pub(super) fn refusal_kind(response: Response<Bytes>) -> String {
    assert!(response.headers().contains_key("accept-signature"), "{response:?}");
    let (status, response) = status_and_body(response);
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!((&response["error"]["code"], &response["id"]), (&json!(-32001), &Value::Null));
    response["error"]["data"]["kind"].as_str().unwrap().to_owned()
}

/// Converts a request to the origin form of HTTP/1.1: the path in the request target, the authority in Host.
fn to_origin_form(mut request: Request<Bytes>) -> Request<Bytes> {
    let host = request.uri().authority().unwrap().as_str().parse().unwrap();
    request.headers_mut().insert(HOST, host);
    *request.uri_mut() = request.uri().path().parse().unwrap();
    request
}

#[tokio::test]
async fn a_signature_for_any_authority_of_the_listener_is_accepted() {
    let fixture = ApiFixture::new();
    for url in [
        "http://localhost:8080/rpc",
        "http://127.0.0.1:8080/rpc",
        "http://[::1]:8080/rpc",
        "http://LOCALHOST:8080/rpc",
    ] {
        let response = fixture.send(to_origin_form(fixture.signed("user1.pub", url, LIST))).await;
        assert_eq!(response.status(), StatusCode::OK, "{url}");
    }
}

#[tokio::test]
async fn a_signature_for_another_authority_is_refused() {
    let fixture = ApiFixture::new();
    for url in [
        "http://localhost:8081/rpc",
        "http://localhost/rpc",
        "http://gw.example/rpc",
        "http://evil.example:8080/rpc",
    ] {
        let response = fixture.send(to_origin_form(fixture.signed("user1.pub", url, LIST))).await;
        assert_eq!(refusal_kind(response), "wrong_authority", "{url}");
    }
    let mut elsewhere = fixture.signed("user1.pub", "https://other.example/rpc", LIST);
    *elsewhere.uri_mut() = Uri::from_static(URL);
    assert_eq!(refusal_kind(fixture.send(elsewhere).await), "forged");
}

#[tokio::test]
async fn the_authority_of_requests_through_a_node_is_the_base_domain() {
    let fixture = ApiFixture::new();
    for (url, is_accepted) in [
        ("https://gw.example/rpc", true),
        ("https://GW.example:8443/rpc", true),
        ("https://localhost:8080/rpc", false),
        ("https://app.gw.example/rpc", false),
    ] {
        let request = fixture.signed("user1.pub", url, LIST);
        let response = fixture.api.handle(request, RequestSource::Node, CLIENT).await;
        assert_eq!(response.status() == StatusCode::OK, is_accepted, "{url}");
    }
}

#[tokio::test]
async fn a_request_needs_exactly_one_host() {
    let fixture = ApiFixture::new();
    let mut none = to_origin_form(fixture.signed("user1.pub", URL, LIST));
    none.headers_mut().remove(HOST);
    let mut two = to_origin_form(fixture.signed("user1.pub", URL, LIST));
    two.headers_mut().append(HOST, HeaderValue::from_static("other.example"));
    for request in [none, two] {
        assert_eq!(fixture.send(request).await.status(), StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn unsigned_calls_of_signed_methods_are_refused() {
    let fixture = ApiFixture::new();
    let health = json!({ "jsonrpc": "2.0", "method": "health", "id": 1 });
    let list: Value = serde_json::from_str(LIST).unwrap();
    let bodies = [
        LIST.to_owned(),
        create("a"),
        json!([health, list]).to_string(),
        r#"{"jsonrpc":"2.0","method":"nothing","id":1}"#.into(),
    ];
    for body in bodies {
        assert_eq!(refusal_kind(fixture.send(unsigned(URL, &body)).await), "unsigned", "{body}");
    }
    assert_eq!(fixture.refused_count("unsigned"), 4);
}

#[tokio::test]
async fn each_requirement_of_a_signature_has_its_error() {
    let fixture = ApiFixture::new();
    let signed = || fixture.signed("user1.pub", URL, LIST);
    let with = |name: &'static str, value: &str| {
        let mut request = signed();
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let without = |name: &str| {
        let mut request = signed();
        request.headers_mut().remove(name);
        request
    };
    let input = |input: &str| with("signature-input", input);
    let covered = r#"("@method" "@target-uri" "content-digest")"#;
    let now = Clock::system().now().unix_timestamp();
    let mut body = signed();
    *body.body_mut() = Bytes::from_static(b"{}");
    let mut verb = signed();
    *verb.method_mut() = Method::POST;
    verb.headers_mut().insert("content-type", HeaderValue::from_static("application/json; charset=utf-8"));
    for (request, kind) in [
        (without("signature"), "unsigned"),
        (without("signature-input"), "unsigned"),
        (without("content-digest"), "digest_missing"),
        (body, "digest_mismatch"),
        (verb, "forged"),
        (with("content-digest", "sha-256=x"), "digest_malformed"),
        (with("signature", "sig1=:AAAA:"), "forged"),
        (with("signature", "sig2=:AAAA:"), "label_mismatch"),
        (with("signature", "sig1=:AAAA:, sig2=:AAAA:"), "several_signatures"),
        (input("sig1=("), "signature_malformed"),
        (input(&format!(r#"sig1=("@method" "@target-uri");created={now};keyid="user1.pub""#)), "not_covered"),
        (input(&format!(r#"sig1={covered};keyid="user1.pub""#)), "signature_parameter"),
        (input(&format!(r#"sig1={covered};created={now};keyid="../user1.pub""#)), "signature_parameter"),
        (input(&format!(r#"sig1={covered};created={};keyid="user1.pub""#, now - 400)), "stale"),
        (input(&format!(r#"sig1={covered};created={};keyid="user1.pub""#, now + 400)), "stale"),
        (input(&format!(r#"sig1={covered};created={now};expires={now};keyid="user1.pub""#)), "expired"),
        (input(&format!(r#"sig1={covered};created={now};keyid="user1.pub";alg="hmac-sha256""#)), "algorithm"),
        (input(&format!(r#"sig1={covered};created={now};keyid="nobody.pub""#)), "unknown_key"),
        (input(&format!(r#"sig1={covered};created={now};keyid="user2.pub""#)), "forged"),
    ] {
        assert_eq!(refusal_kind(fixture.send(request).await), kind);
    }
}

#[tokio::test]
async fn the_key_id_of_another_user_is_refused() {
    let fixture = ApiFixture::new();
    let mut request = unsigned(URL, LIST);
    let now = Clock::system().now().unix_timestamp();
    sign(&mut request, &key("user1.pub"), &"admin.pub".parse().unwrap(), now, "n").unwrap();
    assert_eq!(refusal_kind(fixture.send(request).await), "forged");
}

#[tokio::test]
async fn a_replaced_or_removed_key_is_refused_at_once() {
    let fixture = ApiFixture::new();
    let path = fixture.dir.path().join("keys/user1.pub");
    fs::write(&path, key("other").public().to_pem()).unwrap();
    assert_eq!(refusal_kind(fixture.send(fixture.signed("user1.pub", URL, LIST)).await), "forged");
    fs::write(&path, "no key").unwrap();
    assert_eq!(refusal_kind(fixture.send(fixture.signed("user1.pub", URL, LIST)).await), "unusable_key");
    fs::remove_file(&path).unwrap();
    assert_eq!(refusal_kind(fixture.send(fixture.signed("user1.pub", URL, LIST)).await), "unknown_key");
}

#[tokio::test]
async fn a_replayed_request_is_refused() {
    let fixture = ApiFixture::new();
    for body in [LIST.to_owned(), create("a")] {
        let request = fixture.signed("user1.pub", URL, &body);
        assert_eq!(fixture.send(request.clone()).await.status(), StatusCode::OK);
        assert_eq!(refusal_kind(fixture.send(request).await), "replayed", "{body}");
    }
}

#[tokio::test]
async fn a_mutation_is_not_replayed_after_a_restart() {
    let fixture = ApiFixture::new();
    let id = "01998c00-0000-7000-8000-000000000001";
    let params = json!({ "id": id, "subdomain": "a", "backends": ["[400::1]:80"] });
    fixture.call("user1.pub", "routes.create", params.clone()).await.unwrap();
    let delete = json!({ "jsonrpc": "2.0", "method": "routes.delete", "params": { "id": id }, "id": 1 });
    let request = fixture.signed("user1.pub", URL, &delete.to_string());
    assert_eq!(fixture.send(request.clone()).await.status(), StatusCode::OK);
    fixture.call("user1.pub", "routes.create", params).await.unwrap();
    let fixture = fixture.restarted();
    let find_route = |tx: &mut Tx<'_>| routes::find(tx, id.parse().unwrap());
    assert_eq!(refusal_kind(fixture.send(request).await), "replayed");
    assert!(fixture.store.read("test", find_route).await.unwrap().is_some());
}

#[tokio::test]
async fn mutations_need_a_nonce_and_reads_do_not() {
    let fixture = ApiFixture::new();
    let sign_without_nonce = |body: &str| {
        use base64::Engine;
        use webgateway_proto::httpsig::content_digest;
        let mut request = unsigned(URL, body);
        let digest = content_digest(body.as_bytes());
        let now = Clock::system().now().unix_timestamp();
        let params = format!(r#"("@method" "@target-uri" "content-digest");created={now};keyid="user1.pub""#);
        let base = format!(
            "\"@method\": POST\n\"@target-uri\": {URL}\n\"content-digest\": {}\n\"@signature-params\": {params}",
            digest.to_str().unwrap()
        );
        let signature = base64::engine::general_purpose::STANDARD.encode(key("user1.pub").sign(&base));
        request.headers_mut().insert("content-digest", digest);
        request.headers_mut().insert("signature-input", format!("sig1={params}").parse().unwrap());
        request.headers_mut().insert("signature", format!("sig1=:{signature}:").parse().unwrap());
        request
    };
    assert_eq!(fixture.send(sign_without_nonce(LIST)).await.status(), StatusCode::OK);
    assert_eq!(refusal_kind(fixture.send(sign_without_nonce(&create("a"))).await), "nonce_missing");
    let routes = fixture.call("user1.pub", "routes.list", json!({})).await.unwrap();
    assert!(routes["routes"].as_array().unwrap().is_empty());
}
