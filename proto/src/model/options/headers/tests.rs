//! Changes of header fields in JSON, and those that are refused.

use serde_json::{Value, json};

use super::*;

fn read(value: Value) -> Result<HeaderRules, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

#[test]
fn changes_have_one_form() {
    let rules = read(json!({
        "request": { "remove": ["Accept-Encoding"], "set": { "X-B": "2", "X-A": "a \"quoted\"\tvalue" } },
        "response": { "add": { "Link": ["<a>", "<b>"], "Set-Cookie": "c=d" }, "set": { "x-empty": "" } },
    }))
    .unwrap();
    let canonical = json!({
        "request": { "remove": ["accept-encoding"], "set": { "x-a": "a \"quoted\"\tvalue", "x-b": "2" } },
        "response": { "add": { "link": ["<a>", "<b>"], "set-cookie": "c=d" }, "set": { "x-empty": "" } },
    });
    assert_eq!(serde_json::to_value(&rules).unwrap(), canonical);
    assert_eq!(read(canonical), Ok(rules.clone()));
    assert_eq!(
        rules.describe(),
        "request: remove accept-encoding, set x-a: a \"quoted\"\tvalue, set x-b: 2; \
         response: set x-empty: , add link: <a>, add link: <b>, add set-cookie: c=d"
    );
    assert_eq!(rules.request().replaced().count(), 3);
    for empty in [json!({}), json!({ "request": {} }), json!({ "request": {}, "response": { "set": {} } })] {
        assert_eq!(read(empty), Ok(HeaderRules::default()));
    }
}

#[test]
fn fields_of_the_gateway_cannot_be_changed() {
    for name in [
        "Connection",
        "Keep-Alive",
        "TE",
        "Upgrade",
        "HTTP2-Settings",
        "Transfer-Encoding",
        "Content-Length",
        "Trailer",
        "Expect",
        "Host",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Prefix",
        "X-Forwarded-Anything",
        "X_Forwarded_For",
        "X-Forwarded_For",
        "X-Real-IP",
        "X_REAL_IP",
        "Via",
        "CDN-Loop",
        "X-Request-Id",
        "Max-Forwards",
        "Date",
        "Proxy-Connection",
        "Proxy-Authorization",
        "Proxy-Authenticate",
        "Proxy-Status",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Protocol",
    ] {
        for direction in ["request", "response"] {
            for changes in [
                json!({ "remove": [name] }),
                json!({ "set": { name: "x" } }),
                json!({ "add": { name: "x" } }),
            ] {
                let error = read(json!({ direction: changes })).unwrap_err();
                let expected = format!("{direction}: `{}` cannot be changed", name.to_lowercase());
                assert!(error.starts_with(&expected), "{error}");
            }
        }
    }
    for name in
        ["Server", "Authorization", "Cookie", "Set-Cookie", "Accept-Encoding", "X-Forwarded", "Content-Type"]
    {
        read(json!({ "request": { "set": { name: "x" } }, "response": { "remove": [name] } })).unwrap();
    }
}

#[test]
fn an_invalid_change_is_named() {
    for (value, words) in [
        (json!([]), "invalid type: sequence"),
        (json!({ "requests": {} }), "unknown field `requests`"),
        (json!({ "request": [] }), "invalid type: sequence"),
        (json!({ "request": { "sett": {} } }), "unknown field `sett`"),
        (json!({ "request": { "set": { "x-a": 1 } } }), "invalid type: integer"),
        (json!({ "request": { "add": { "x-a": 1 } } }), "a string, or a list of strings"),
        (json!({ "request": { "remove": "x-a" } }), "invalid type: string"),
        (json!({ "request": { "set": { "": "x" } } }), "`` is not the name of a header field"),
        (json!({ "request": { "set": { ":path": "/" } } }), "`:path` is not the name"),
        (json!({ "request": { "set": { "x a": "b" } } }), "`x a` is not the name"),
        (json!({ "request": { "set": { "x:a": "b" } } }), "`x:a` is not the name"),
        (json!({ "request": { "set": { "x-\u{e9}": "b" } } }), "is not the name"),
        (json!({ "request": { "set": { "x-a": "b\r\nx-b: c" } } }), "the value of `x-a`"),
        (json!({ "request": { "set": { "x-a": "b\n" } } }), "the value of `x-a`"),
        (json!({ "request": { "set": { "x-a": "\u{0}" } } }), "the value of `x-a`"),
        (json!({ "request": { "set": { "x-a": "\u{7f}" } } }), "the value of `x-a`"),
        (json!({ "request": { "set": { "x-a": "\u{e9}" } } }), "the value of `x-a`"),
        (json!({ "request": { "set": { "x-a": " b" } } }), "the value of `x-a`"),
        (json!({ "request": { "add": { "x-a": ["b", "c\t"] } } }), "the value of `x-a`"),
        (json!({ "request": { "set": { "x-a": "b", "X-A": "b" } } }), "`x-a` is given twice"),
        (json!({ "request": { "remove": ["x-a", "X-A"] } }), "`x-a` is given twice"),
    ] {
        let error = read(value.clone()).unwrap_err();
        assert!(error.contains(words), "{value}: {error}");
    }
    read(json!({ "request": { "remove": ["x-a"], "set": { "x-a": "b" }, "add": { "x-a": "c" } } })).unwrap();
}

#[test]
fn changes_are_bounded() {
    let names: Vec<String> = (0..MAX_HEADER_CHANGES).map(|i| format!("x-{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(HeaderChanges::parse(&names, &[], &[]).is_ok());
    let refused = HeaderChanges::parse(&names, &[("x", "y")], &[]);
    assert_eq!(refused, Err(InvalidHeaderError::TooMany(MAX_HEADER_CHANGES + 1)));
    let value = "x".repeat(MAX_HEADER_BYTES - 1);
    assert!(HeaderChanges::parse(&[], &[("x", &value)], &[]).is_ok());
    let refused = HeaderChanges::parse(&["a"], &[("x", &value)], &[]);
    assert_eq!(refused, Err(InvalidHeaderError::TooLong(MAX_HEADER_BYTES + 1)));
}
