//! Tests of the methods and their errors, in single calls and in batches.

use super::*;

#[tokio::test]
async fn every_call_of_a_batch_has_its_own_response() {
    let fixture = ApiFixture::new();
    let batch = json!([
        { "jsonrpc": "2.0", "method": "routes.create", "params": route("a"), "id": "first" },
        { "jsonrpc": "2.0", "method": "routes.create", "params": route("quiet") },
        { "foo": "boo" },
        { "jsonrpc": "2.0", "method": "foo.get", "params": { "name": "x" }, "id": -1 },
        { "jsonrpc": "2.0", "method": "routes.list", "id": 1.5 },
        { "jsonrpc": "2.0", "method": "routes.list", "params": [], "id": null },
    ]);
    let (_, response) = fixture.post("user1.pub", &batch.to_string()).await;
    let responses = response.as_array().unwrap();
    assert_eq!(responses.len(), 5);
    assert_eq!(responses[0]["result"]["host"], "a.gw.example");
    assert_eq!(responses[0]["id"], "first");
    assert_eq!((&responses[1]["error"]["code"], &responses[1]["id"]), (&json!(-32600), &Value::Null));
    assert_eq!((&responses[2]["error"]["code"], &responses[2]["id"]), (&json!(-32601), &json!(-1)));
    let hosts: Vec<_> =
        responses[3]["result"]["routes"].as_array().unwrap().iter().map(|r| &r["host"]).collect();
    assert_eq!(hosts, ["a.gw.example", "quiet.gw.example"], "notifications are executed too");
    assert_eq!(responses[3]["id"], 1.5);
    assert_eq!(responses[4]["error"]["code"], -32602);
    assert!(responses[4].as_object().unwrap().contains_key("id"));
}

#[tokio::test]
async fn a_request_of_notifications_has_no_content() {
    let fixture = ApiFixture::new();
    let one = json!({ "jsonrpc": "2.0", "method": "routes.create", "params": route("a") });
    let broken = json!({ "jsonrpc": "2.0", "method": "routes.create", "params": [1] });
    for body in [one.to_string(), json!([one, broken]).to_string()] {
        let (status, response) = fixture.post("user1.pub", &body).await;
        assert_eq!((status, response), (StatusCode::NO_CONTENT, Value::Null));
    }
    let routes = fixture.call("user1.pub", "routes.list", json!({})).await.unwrap();
    assert_eq!(routes["routes"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn routes_are_created_updated_and_deleted() {
    let fixture = ApiFixture::new();
    let created = fixture.call("user1.pub", "routes.create", route("app")).await.unwrap();
    assert_eq!(created["owner"], "user1.pub");
    assert_eq!((&created["mode"], &created["balance"]), (&json!("terminate"), &json!("round_robin")));
    let id = json!({ "id": created["id"] });
    assert_eq!(fixture.call("user1.pub", "routes.get", id.clone()).await.unwrap(), created);
    let update = json!({ "id": created["id"], "balance": "random", "expected_version": created["version"] });
    let updated = fixture.call("user1.pub", "routes.update", update.clone()).await.unwrap();
    assert_eq!(updated["balance"], "random");
    let stale = fixture.call("user1.pub", "routes.update", update).await.unwrap_err();
    assert_eq!((&stale["code"], &stale["data"]["kind"]), (&json!(-32009), &json!("stale_version")));
    let mut deleted = fixture.call("user1.pub", "routes.delete", id.clone()).await.unwrap();
    assert!(
        deleted["version"].as_u64() > updated["version"].as_u64(),
        "the version of the deletion: {deleted}"
    );
    deleted["version"] = updated["version"].clone();
    assert_eq!(deleted, updated);
    let gone = fixture.call("user1.pub", "routes.get", id).await.unwrap_err();
    assert_eq!((&gone["code"], &gone["data"]["field"]), (&json!(-32004), &json!("id")));
}

#[tokio::test]
async fn errors_have_their_code_kind_and_field() {
    let fixture = ApiFixture::new();
    fixture.call("user2.pub", "routes.create", route("taken")).await.unwrap();
    let backend = |text: &str| json!({ "subdomain": "a", "backends": [text] });
    let fqdn = |text: &str| json!({ "fqdn": text, "backends": ["[400::1]:80"] });
    let mut nil = route("a");
    nil["id"] = json!("00000000-0000-0000-0000-000000000000");
    for (method, params, code, kind, field) in [
        ("routes.create", json!({}), -32602, "invalid_params", "backends"),
        ("routes.create", json!({ "backends": ["[400::1]:80"] }), -32602, "host_missing", "fqdn"),
        ("routes.create", backend("[2001:db8::1]:80"), -32602, "invalid_backend", "backends"),
        ("routes.create", backend("[400::1]"), -32602, "invalid_backend", "backends"),
        ("routes.create", backend("[400::1]:0"), -32602, "invalid_backend", "backends"),
        ("routes.create", json!({ "subdomain": "a", "backends": [] }), -32602, "backend_missing", "backends"),
        ("routes.create", fqdn("a..b"), -32602, "invalid_host", "fqdn"),
        ("routes.create", fqdn("*.x"), -32602, "invalid_host", "fqdn"),
        ("routes.create", fqdn("192.0.2.1"), -32602, "invalid_host", "fqdn"),
        ("routes.create", fqdn("GW.example"), -32602, "host_reserved", "fqdn"),
        ("routes.create", fqdn("_acme-challenge.gw.example"), -32602, "host_reserved", "fqdn"),
        ("routes.create", route("a.b"), -32602, "invalid_host", "subdomain"),
        ("routes.create", route("taken"), -32009, "host_taken", "host"),
        ("routes.create", nil, -32602, "invalid_id", "id"),
        ("routes.get", json!({ "id": "42" }), -32602, "invalid_id", "id"),
        (
            "routes.get",
            json!({ "id": "018f0000-0000-7000-8000-000000000000" }),
            -32004,
            "route_not_found",
            "id",
        ),
        ("routes.list", json!({ "all": true }), -32602, "invalid_params", "all"),
    ] {
        let error = fixture.call("user1.pub", method, params.clone()).await.unwrap_err();
        let data = &error["data"];
        assert_eq!(
            (&error["code"], &data["kind"], &data["field"]),
            (&json!(code), &json!(kind), &json!(field)),
            "{params}"
        );
    }
}

#[tokio::test]
async fn admin_methods_are_for_the_admin() {
    let fixture = ApiFixture::new();
    let user = json!({ "user": "user1.pub" });
    for (method, params) in [("admin.suspend", &user), ("admin.unsuspend", &user), ("nodes.list", &json!({}))]
    {
        let error = fixture.call("user1.pub", method, params.clone()).await.unwrap_err();
        assert_eq!(
            (&error["code"], &error["data"]["kind"]),
            (&json!(-32003), &json!("admin_only")),
            "{method}"
        );
    }
    let nodes = fixture.call("admin.pub", "nodes.list", json!({})).await.unwrap();
    assert_eq!(nodes["nodes"][0]["node"], "n1");
    let state = fixture.call("admin.pub", "admin.suspend", user).await.unwrap();
    assert_eq!((&state["suspended"], &state["routes"]), (&json!(true), &json!(0)));
    let error = fixture.call("user1.pub", "routes.create", route("a")).await.unwrap_err();
    assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32003), &json!("suspended")));
    let unknown =
        fixture.call("admin.pub", "admin.suspend", json!({ "user": "usr1.pub" })).await.unwrap_err();
    assert_eq!((&unknown["code"], &unknown["data"]["kind"]), (&json!(-32004), &json!("user_not_found")));
    let outside = fixture.call("admin.pub", "admin.suspend", json!({ "user": "../x" })).await.unwrap_err();
    assert_eq!((&outside["code"], &outside["data"]["field"]), (&json!(-32602), &json!("user")));
}

#[tokio::test]
async fn three_methods_need_no_signature() {
    let fixture = ApiFixture::new();
    for (method, pointer, expected) in [
        ("health", "/result/status", json!("ok")),
        ("version", "/result/name", json!("webgateway-controlplane")),
        ("rpc.discover", "/result/openrpc", json!("1.3.2")),
    ] {
        let body = json!({ "jsonrpc": "2.0", "method": method, "params": null, "id": 1 }).to_string();
        let (status, response) = status_and_body(fixture.send(unsigned(URL, &body)).await);
        assert_eq!((status, response.pointer(pointer)), (StatusCode::OK, Some(&expected)));
    }
    let body = json!([{ "jsonrpc": "2.0", "method": "health", "id": 1 }, { "jsonrpc": "2.0", "method": "version", "id": 2 }]);
    let (_, response) = status_and_body(fixture.send(unsigned(URL, &body.to_string())).await);
    assert_eq!(response.as_array().unwrap().len(), 2);
    assert_eq!(response[0]["result"]["nodes"], 1);
}

#[tokio::test]
async fn unsigned_batches_are_small() {
    let fixture = ApiFixture::new();
    let batch = |calls: usize| {
        let call = json!({ "jsonrpc": "2.0", "method": "rpc.discover", "id": 1 });
        serde_json::to_string(&vec![call; calls]).unwrap()
    };
    let (status, response) = status_and_body(fixture.send(unsigned(URL, &batch(10))).await);
    assert_eq!((status, response.as_array().map(Vec::len)), (StatusCode::OK, Some(10)));
    let (status, response) = status_and_body(fixture.send(unsigned(URL, &batch(11))).await);
    assert_eq!((status, &response["error"]["data"]["kind"]), (StatusCode::UNAUTHORIZED, &json!("unsigned")));
    let (status, _) = fixture.post("user1.pub", &batch(100)).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn only_the_admin_sees_names_of_nodes() {
    let fixture = ApiFixture::new();
    let created = fixture.call("user1.pub", "routes.create", route("app")).await.unwrap();
    let wait = json!({ "version": 1, "route": created["id"] });
    let owners = json!({ "nodes": 1, "acked": 1, "rejects": ["unknown option"] });
    assert_eq!(fixture.call("user1.pub", "nodes.wait", wait.clone()).await.unwrap(), owners);
    let others = fixture.call("user2.pub", "nodes.wait", wait.clone()).await.unwrap();
    assert_eq!(others["rejects"], json!([]), "no rejects of another user's route");
    let admins = fixture.call("admin.pub", "nodes.wait", wait).await.unwrap();
    assert_eq!(admins["rejects"], json!(["n1: unknown option"]));
    let explain = json!({ "host": "app.gw.example" });
    let owners = fixture.call("user1.pub", "routes.explain", explain.clone()).await.unwrap();
    assert_eq!(owners["nodes"][0]["problem"]["message"], "it did not answer in time");
    let others = fixture.call("user2.pub", "routes.explain", explain).await.unwrap();
    assert_eq!((&others["route"], &others["nodes"]), (&Value::Null, &json!([])));
    let bad = fixture.call("user1.pub", "routes.explain", json!({ "host": "a..b" })).await.unwrap_err();
    assert_eq!(bad["data"]["field"], "host");
}

#[tokio::test]
async fn the_error_of_a_rate_limited_call_has_retry_after() {
    let fixture = ApiFixture::new();
    let quota = json!({ "user": "user1.pub", "mutations_per_minute": 2 });
    let set = fixture.call("admin.pub", "admin.quota", quota).await.unwrap();
    assert_eq!(set["quota"], json!({ "routes": null, "backends": null, "mutations_per_minute": 2 }));
    let call = |id: u32| json!({ "jsonrpc": "2.0", "method": "routes.create", "params": route(&format!("a{id}")), "id": id });
    let list = json!({ "jsonrpc": "2.0", "method": "routes.list", "id": "list" });
    let (_, response) =
        fixture.post("user1.pub", &json!([call(1), list, call(2), call(3)]).to_string()).await;
    assert_eq!(response[0]["result"]["host"], "a1.gw.example");
    assert_eq!(response[2]["result"]["host"], "a2.gw.example");
    let error = &response[3]["error"];
    assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32050), &json!("rate_limited")));
    assert_eq!(error["message"], "you have made 2 of 2 changes in this minute");
    assert!((1..=60).contains(&error["data"]["retry_after"].as_u64().unwrap()), "{error}");

    // A limited request needs no transaction. Its reads are still run, and it cannot be replayed.
    let nonce_writes = |fixture: &ApiFixture| {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &fixture.registry).unwrap();
        text.lines()
            .filter(|line| line.contains("name=\"nonce\"") && line.contains("_count"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let before = nonce_writes(&fixture);
    assert!(!before.is_empty());
    let body = json!([call(4), json!({ "jsonrpc": "2.0", "method": "routes.list", "id": 5 })]).to_string();
    let request = fixture.signed("user1.pub", URL, &body);
    let again = request.clone();
    let (_, response) = status_and_body(fixture.send(request).await);
    assert_eq!(response[0]["error"]["data"]["kind"], "rate_limited");
    assert_eq!(response[1]["result"]["routes"].as_array().unwrap().len(), 2);
    assert_eq!(nonce_writes(&fixture), before);
    assert_eq!(fixture.send(again).await.status(), StatusCode::UNAUTHORIZED);
    assert!(
        fixture.call("user2.pub", "routes.create", route("b")).await.is_ok(),
        "other users are not limited"
    );
}

#[tokio::test]
async fn errors_about_users_name_the_param() {
    let fixture = ApiFixture::new();
    for (method, params, code, kind, field) in [
        ("admin.suspend", json!({ "user": "user1.pub", "reason": "" }), -32602, "invalid_reason", "reason"),
        ("admin.suspend", json!({ "user": "user1.pub", "until": "soon" }), -32602, "invalid_until", "until"),
        (
            "admin.suspend",
            json!({ "user": "user1.pub", "reason": "a\nb" }),
            -32602,
            "invalid_reason",
            "reason",
        ),
        (
            "admin.suspend",
            json!({ "user": "user1.pub", "until": "2999-01-01" }),
            -32602,
            "invalid_until",
            "until",
        ),
        ("admin.suspend", json!({ "user": "../x" }), -32602, "invalid_user", "user"),
        ("admin.suspend", json!({ "user": "nobody.pub" }), -32004, "user_not_found", "user"),
        ("admin.quota", json!({ "user": "user1.pub", "routes": -1 }), -32602, "invalid_params", "routes"),
        ("admin.quota", json!({ "user": "admin.pub", "routes": 1 }), -32003, "quota_admin", "user"),
        ("admin.users", json!({ "limit": 0 }), -32602, "invalid_limit", "limit"),
    ] {
        let error = fixture.call("admin.pub", method, params.clone()).await.unwrap_err();
        let (error_kind, at) = (&error["data"]["kind"], &error["data"]["field"]);
        assert_eq!((&error["code"], error_kind, at), (&json!(code), &json!(kind), &json!(field)), "{params}");
    }
    let quota = json!({ "user": "user1.pub", "routes": 0 });
    fixture.call("admin.pub", "admin.quota", quota).await.unwrap();
    let error = fixture.call("user1.pub", "routes.create", route("a")).await.unwrap_err();
    assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32003), &json!("quota_exceeded")));
    assert_eq!(
        (&error["message"], &error["data"]["field"]),
        (&json!("you have 0 of 0 routes"), &json!("routes"))
    );
}
