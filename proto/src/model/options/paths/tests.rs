//! Path rules in JSON and in their compact form, their order, and invalid ones.

use serde_json::{Value, json};

use super::*;
use crate::model::RouteOptions;

fn read(value: Value) -> Result<PathRules, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn rules(texts: &[&str]) -> Result<PathRules, InvalidPathRulesError> {
    PathRules::new(texts.iter().map(|text| text.parse().unwrap()).collect())
}

#[test]
fn a_rule_has_one_form_in_json_and_one_on_the_command_line() {
    for (text, spec) in [
        ("/api", json!({ "prefix": "/api" })),
        ("/", json!({ "prefix": "/" })),
        ("exact:/", json!({ "exact": "/" })),
        ("exact:/a/", json!({ "exact": "/a/" })),
        ("/api=[400::2]:80", json!({ "prefix": "/api", "backends": ["[400::2]:80"] })),
        (
            "/api=[400::2]:80,127.0.0.1:81,strip",
            json!({ "prefix": "/api", "backends": ["[400::2]:80", "127.0.0.1:81"], "strip_prefix": true }),
        ),
        ("/api=strip", json!({ "prefix": "/api", "strip_prefix": true })),
        ("/api=replace:/v1,x", json!({ "prefix": "/api", "replace_prefix": "/v1,x" })),
        (
            "/api=[400::2]:80,replace:/v2",
            json!({ "prefix": "/api", "backends": ["[400::2]:80"], "replace_prefix": "/v2" }),
        ),
        ("/api=replace:/", json!({ "prefix": "/api", "replace_prefix": "/" })),
        ("/=replace:/app", json!({ "prefix": "/", "replace_prefix": "/app" })),
        (
            "/old=301:https://x.example/a=b,c{path}",
            json!({ "prefix": "/old", "redirect": { "status": 301, "to": "https://x.example/a=b,c{path}" } }),
        ),
        ("exact:/old=308:/new", json!({ "exact": "/old", "redirect": { "status": 308, "to": "/new" } })),
        (
            "exact:/docs=302:/docs/",
            json!({ "exact": "/docs", "redirect": { "status": 302, "to": "/docs/" } }),
        ),
    ] {
        let rule: PathRule = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(rule.to_string(), text);
        let read = read(json!([spec])).unwrap();
        assert_eq!(read.as_slice(), [rule], "{text}");
        assert_eq!(serde_json::to_value(&read).unwrap(), json!([spec]));
    }
    let trimmed: PathRule = "/api/=[400:0::2]:80".parse().unwrap();
    assert_eq!(trimmed.to_string(), "/api=[400::2]:80", "one spelling");
}

#[test]
fn the_order_of_the_list_makes_no_difference() {
    let texts = ["/", "exact:/a/b", "/a", "/a/b/c", "/a/b", "exact:/a", "exact:/"];
    let sorted = rules(&texts).unwrap();
    let mut turned = texts;
    for _ in 0..texts.len() {
        turned.rotate_left(1);
        assert_eq!(rules(&turned).unwrap(), sorted);
    }
    assert_eq!(sorted.describe(), "exact:/a/b; exact:/a; exact:/; /a/b/c; /a/b; /a; /");
    for (path, text) in [
        ("/", "exact:/"),
        ("/x", "/"),
        ("/a", "exact:/a"),
        ("/a/", "/a"),
        ("/a/x", "/a"),
        ("/ab", "/"),
        ("/a/b", "exact:/a/b"),
        ("/a/b/", "/a/b"),
        ("/a/b/c/d", "/a/b/c"),
    ] {
        let found = sorted.position(path).map(|at| sorted.as_slice()[at].to_string());
        assert_eq!(found.as_deref(), Some(text), "{path}");
    }
}

#[test]
fn an_invalid_rule_is_named() {
    for (value, words) in [
        (json!({}), "invalid type: map"),
        (json!(["/api"]), "invalid type: string"),
        (json!([["/api"]]), "invalid type: sequence"),
        (json!([{}]), "path rule 1: give either `prefix` or `exact`"),
        (json!([{ "prefix": "/" }, { "prefix": "/a", "exact": "/a" }]), "path rule `/a`: give either"),
        (json!([{ "prefx": "/a" }]), "unknown field `prefx`"),
        (json!([{ "prefix": "a" }]), "path rule `a`: `a` is not a path"),
        (json!([{ "prefix": "/a", "backends": [] }]), "list of backends is empty"),
        (json!([{ "prefix": "/a", "backends": ["[400::1]"] }]), "path rule `/a`: `[400::1]` has no port"),
        (json!([{ "prefix": "/a", "backends": ["[400::1]:1", "[400:0::1]:1"] }]), "given twice"),
        (json!([{ "prefix": "/a", "strip_prefix": true, "replace_prefix": "/b" }]), "exclude each other"),
        (json!([{ "prefix": "/a", "strip_prefix": "yes" }]), "invalid type: string"),
        (json!([{ "prefix": "/a", "replace_prefix": "b" }]), "`b` is not a path"),
        (json!([{ "exact": "/a", "strip_prefix": true }]), "need `prefix`"),
        (json!([{ "exact": "/a", "replace_prefix": "/b" }]), "need `prefix`"),
        (json!([{ "exact": "/a", "redirect": { "status": 301, "to": "/b{path}" } }]), "need `prefix`"),
        (json!([{ "prefix": "/", "strip_prefix": true }]), "nothing can be stripped"),
        (json!([{ "prefix": "/a", "redirect": { "to": "/b" } }]), "missing field `status`"),
        (json!([{ "prefix": "/a", "redirect": [301, "/b"] }]), "invalid type: sequence"),
        (json!([{ "prefix": "/a", "redirect": "/b" }]), "invalid type: string"),
        (json!([{ "prefix": "/a", "redirect": { "status": 200, "to": "/b" } }]), "200 is not the status"),
        (json!([{ "prefix": "/a", "redirect": { "status": 301, "to": "/b\r\nX: y" } }]), "percent-encoded"),
        (
            json!([{ "prefix": "/a", "backends": ["[400::1]:1"], "redirect": { "status": 301, "to": "/b" } }]),
            "a redirect has no `backends`",
        ),
        (json!([{ "prefix": "/a", "redirect": { "status": 301, "to": "/a/b" } }]), "redirects to itself"),
        (json!([{ "exact": "/a", "redirect": { "status": 301, "to": "/A?x=1" } }]), "redirects to itself"),
        (json!([{ "prefix": "/", "redirect": { "status": 301, "to": "/x{path}" } }]), "redirects to itself"),
        (json!([{ "prefix": "/", "redirect": { "status": 301, "to": "/{path}" } }]), "redirects to itself"),
        (json!([{ "prefix": "/a" }, { "prefix": "/A/" }]), "two path rules are for `/a`"),
        (json!([{ "exact": "/a" }, { "exact": "/a" }]), "two path rules are for `exact:/a`"),
    ] {
        let error = read(value.clone()).unwrap_err();
        assert!(error.contains(words), "{value}: {error}");
    }
    read(json!([{ "exact": "/a" }, { "prefix": "/a" }, { "exact": "/a/" }])).unwrap();
    rules(&["/a=301:/a/b", "/a/b"]).unwrap();
}

#[test]
fn an_invalid_compact_rule_says_what_to_write() {
    for (text, words) in [
        ("", "must begin with `/`"),
        ("api=[400::1]:80", "`api` is not a path"),
        ("=/api=[400::1]:80", "must begin with `/`"),
        ("/api=", "is not an address and a port"),
        ("/api=[400::1]", "has no port: write, for example, [400::1]:8080"),
        ("/api=400::1:8080", "needs brackets around the IPv6 address: write [400::1]:8080"),
        ("/api=strp", "`strp` is not an address and a port"),
        ("/api=[400::1]:80,", "`` is not an address and a port"),
        ("/api=http://[400::1]:80", "write a backend as [400::1]:8080, or a redirect with its status"),
        ("/old=https://x.example/", "or a redirect with its status"),
        ("/old=404:/x", "404 is not the status"),
        ("/old=301:ftp://x.example/", "is not a target"),
        ("exact:/old=strip", "need `prefix`"),
        ("exact:old", "`old` is not a path"),
        ("/a=strip,replace:/b", "exclude each other"),
        ("/a=replace:b", "`b` is not a path"),
    ] {
        let error = text.parse::<PathRule>().unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn rules_and_their_backends_are_bounded() {
    let many = |n: usize| (0..n).map(|i| json!({ "prefix": format!("/{i}") })).collect::<Value>();
    assert_eq!(read(many(MAX_PATH_RULES)).unwrap().as_slice().len(), MAX_PATH_RULES);
    assert!(read(many(MAX_PATH_RULES + 1)).unwrap_err().contains("65 path rules given, at most 64"));
    let backends = |each: usize| {
        let list = |i: usize| (0..each).map(|n| format!("[400::{i}:{n}]:80")).collect::<Vec<_>>();
        (0..8).map(|i| json!({ "prefix": format!("/{i}"), "backends": list(i) })).collect::<Value>()
    };
    assert_eq!(read(backends(16)).unwrap().backends().len(), MAX_RULE_BACKENDS);
    assert!(read(backends(17)).unwrap_err().contains("136 different backends, at most 128"));
}

#[test]
fn backends_are_listed_once_and_checked_against_the_prefixes() {
    let rules = rules(&["/a=[400::1]:80,[400::2]:80", "/b=[400::2]:80", "/c"]).unwrap();
    assert_eq!(rules.backends().len(), 2);
    let options = RouteOptions { paths: rules, ..RouteOptions::default() };
    assert_eq!(options.check_backends(&Prefixes::default()), Ok(()));
    let narrow = Prefixes::new(vec!["400::1/128".parse().unwrap()]);
    let (option, error) = options.check_backends(&narrow).unwrap_err();
    assert!(option == "paths" && error.to_string().contains("`[400::2]:80` is outside"), "{error}");
}
