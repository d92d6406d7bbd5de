//! Tests with the examples of section 7 of the JSON-RPC 2.0 specification, and with ids of every type.

use super::*;

const GET: &str = r#""method": "routes.get""#;
const ID: &str = r#""id": "018f0000-0000-7000-8000-000000000001""#;

/// Creates an API with a route of user1 whose id is [`ID`].
async fn fixture_with_routes() -> ApiFixture {
    let fixture = ApiFixture::new();
    let create = format!(
        r#"{{"jsonrpc": "2.0", "method": "routes.create", "params": {{{ID}, "subdomain": "a", "backends": ["[400::1]:80"]}}}}"#
    );
    assert_eq!(send(&fixture, &create).await, "");
    fixture
}

async fn send(fixture: &ApiFixture, body: &str) -> String {
    let response = fixture.send(fixture.signed("user1.pub", URL, body)).await;
    let text = String::from_utf8(response.body().to_vec()).unwrap();
    let expected = if text.is_empty() { StatusCode::NO_CONTENT } else { StatusCode::OK };
    assert_eq!(response.status(), expected, "{body}: {text}");
    text
}

/// Checks the members of a response, and returns `ok` or the code of its error, with its id.
fn outcome(response: &Value) -> String {
    let members: Vec<&str> = response.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(response["jsonrpc"], "2.0");
    let result = match &members[..] {
        ["error", "id", "jsonrpc"] | ["jsonrpc", "error", "id"] => response["error"]["code"].to_string(),
        ["id", "jsonrpc", "result"] | ["jsonrpc", "result", "id"] => "ok".to_owned(),
        other => panic!("{other:?}"),
    };
    format!("{result} {}", response["id"])
}

#[tokio::test]
async fn the_examples_of_section_7() {
    let fixture = fixture_with_routes().await;
    let named = |id: u8| format!(r#"{{"jsonrpc": "2.0", {GET}, "params": {{{ID}}}, "id": {id}}}"#);
    for (body, expected) in [
        // rpc call with positional parameters, which are not supported
        (r#"{"jsonrpc": "2.0", "method": "routes.get", "params": [42, 23], "id": 1}"#, "-32602 1"),
        (r#"{"jsonrpc": "2.0", "method": "routes.get", "params": [23, 42], "id": 2}"#, "-32602 2"),
        // rpc call with named parameters, in either order of the members
        (&named(3), "ok 3"),
        (&format!(r#"{{"id": 4, "params": {{{ID}}}, {GET}, "jsonrpc": "2.0"}}"#), "ok 4"),
        // a Notification
        (r#"{"jsonrpc": "2.0", "method": "routes.get", "params": [1,2,3,4,5]}"#, ""),
        (r#"{"jsonrpc": "2.0", "method": "foobar"}"#, ""),
        // rpc call of non-existent method
        (r#"{"jsonrpc": "2.0", "method": "foobar", "id": "1"}"#, r#"-32601 "1""#),
        // rpc call with invalid JSON
        (r#"{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]"#, "-32700 null"),
        // rpc call with invalid Request object
        (r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#, "-32600 null"),
    ] {
        let response = send(&fixture, body).await;
        let result =
            if response.is_empty() { response } else { outcome(&serde_json::from_str(&response).unwrap()) };
        assert_eq!(result, expected, "{body}");
    }
}

#[tokio::test]
async fn the_batches_of_section_7() {
    let fixture = fixture_with_routes().await;
    let parse_error =
        r#"[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},{"jsonrpc": "2.0", "method""#;
    for (body, expected) in [(parse_error, "-32700 null"), ("[]", "-32600 null")] {
        let single: Value = serde_json::from_str(&send(&fixture, body).await).unwrap();
        assert_eq!(outcome(&single), expected, "a single response");
    }
    let mixed = format!(
        r#"[{{"jsonrpc": "2.0", {GET}, "params": {{{ID}}}, "id": "1"}},
            {{"jsonrpc": "2.0", "method": "routes.get", "params": [7]}},
            {{"jsonrpc": "2.0", "method": "routes.get", "params": [42,23], "id": "2"}},
            {{"foo": "boo"}},
            {{"jsonrpc": "2.0", "method": "foo.get", "params": {{"name": "myself"}}, "id": "5"}},
            {{"jsonrpc": "2.0", "method": "routes.list", "id": "9"}}]"#
    );
    let expected = [r#"ok "1""#, r#"-32602 "2""#, "-32600 null", r#"-32601 "5""#, r#"ok "9""#];
    for (body, expected) in [
        ("[1]", &["-32600 null"][..]),
        ("[1,2,3]", &["-32600 null"; 3]),
        (r#"[[], "x", null, {}]"#, &["-32600 null"; 4]),
        (&mixed, &expected),
    ] {
        let responses: Vec<Value> = serde_json::from_str(&send(&fixture, body).await).unwrap();
        assert_eq!(responses.iter().map(outcome).collect::<Vec<_>>(), expected, "{body}");
    }
    let notifications = r#"[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]"#;
    assert_eq!(send(&fixture, notifications).await, "", "nothing is returned for all notification batches");
}

#[tokio::test]
async fn ids_are_returned_as_written() {
    let fixture = ApiFixture::new();
    let longest = format!("\"{}\"", "9".repeat(5000));
    for id in [
        "0",
        "-1",
        "1.5",
        "-0.0",
        "1e3",
        "1E-7",
        "null",
        "\"\"",
        "\"x\"",
        "\"\\u0041\\n\"",
        "\"é\"",
        "\"null\"",
        "9007199254740993",
        "18446744073709551616",
        "-170141183460469231731687303715884105729",
        "123456789012345678901234567890.5",
        &longest,
    ] {
        for (method, member) in [("version", "result"), ("nothing", "error")] {
            let body = format!(r#"{{"jsonrpc":"2.0","method":"{method}","id":{id}}}"#);
            let single = send(&fixture, &body).await;
            assert!(single.ends_with(&format!(r#","id":{id}}}"#)), "{single}");
            assert!(single.contains(&format!(r#""{member}":"#)), "{single}");
            assert_eq!(send(&fixture, &format!("[{body}]")).await, format!("[{single}]"));
        }
    }
    for id in ["true", "[1]", "{}", "{\"a\":1}"] {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"version","id":{id}}}"#);
        assert_eq!(outcome(&serde_json::from_str(&send(&fixture, &body).await).unwrap()), "-32600 null");
    }
}

#[tokio::test]
async fn params_are_an_object_or_absent() {
    let fixture = ApiFixture::new();
    for (params, expected) in [
        ("{}", "ok 1"),
        ("null", "ok 1"),
        ("[]", "-32602 1"),
        ("\"bar\"", "-32600 null"),
        ("42", "-32600 null"),
        ("true", "-32600 null"),
        ("1.5", "-32600 null"),
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"routes.list","params":{params},"id":1}}"#);
        assert_eq!(
            outcome(&serde_json::from_str(&send(&fixture, &body).await).unwrap()),
            expected,
            "{params}"
        );
    }
}
