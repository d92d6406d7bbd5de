//! Tests of heads: hop-by-hop fields and forged ones are removed, all others are forwarded.

use http::header::AUTHORIZATION;
use proptest::prelude::*;

use super::*;

fn request(version: Version, uri: &str, hosts: &[&str]) -> Request<()> {
    let mut builder = Request::get(uri).version(version);
    for host in hosts {
        builder = builder.header(HOST, *host);
    }
    builder.body(()).unwrap()
}

fn host(version: Version, uri: &str, hosts: &[&str]) -> Result<String, RequestError> {
    target(&request(version, uri, hosts), "sni.example").map(|target| target.host.into_owned())
}

#[test]
fn the_host_is_read_where_each_version_has_it() {
    let ok = |host: &str| Ok(host.to_owned());
    assert_eq!(host(Version::HTTP_11, "/", &["A.example:8443"]), ok("a.example"));
    assert_eq!(host(Version::HTTP_11, "/", &["a.example."]), ok("a.example"));
    assert_eq!(host(Version::HTTP_2, "https://a.example/x", &[]), ok("a.example"));
    assert_eq!(host(Version::HTTP_2, "https://a.example/x", &["A.example"]), ok("a.example"));
    assert_eq!(host(Version::HTTP_2, "/x", &["a.example"]), ok("a.example"));
    assert_eq!(host(Version::HTTP_2, "/x", &[]), Err(RequestError::MissingHost));
    assert_eq!(host(Version::HTTP_11, "http://a.example", &[]), ok("a.example"));
    assert_eq!(host(Version::HTTP_11, "*", &["a.example"]), ok("a.example"));
    assert_eq!(host(Version::HTTP_11, "a.example:443", &["a.example"]), ok("a.example"));
    assert_eq!(host(Version::HTTP_10, "http://a.example/", &[]), ok("a.example"));
    assert_eq!(host(Version::HTTP_10, "/", &[]), ok("sni.example"));
    assert_eq!(host(Version::HTTP_11, "/", &["[400::A]:443"]), ok("[400::a]"));
    assert_eq!(host(Version::HTTP_11, "/", &[]), Err(RequestError::MissingHost));
    assert_eq!(host(Version::HTTP_11, "/", &["a.example", "a.example"]), Err(RequestError::MultipleHosts));
    assert_eq!(host(Version::HTTP_2, "https://a.example/", &["b.example"]), Err(RequestError::MultipleHosts));
    let authorities = |uri: &str, named: &str| host(Version::HTTP_2, uri, &[named]);
    for (uri, named) in [
        ("https://a.example:443/", "A.example"),
        ("https://a.example/", "a.example.:443"),
        ("https://a.example:/", "a.example"),
        ("http://a.example/", "a.example:80"),
        ("http://a.example:8443/", "A.example.:8443"),
    ] {
        assert_eq!(authorities(uri, named), ok("a.example"), "{uri}, {named}");
    }
    assert_eq!(authorities("https://[400::1]:443/", "[400::1]"), ok("[400::1]"));
    for (uri, named) in [
        ("https://a.example/", "a.example:80"),
        ("http://a.example/", "a.example:443"),
        ("https://a.example:8443/", "a.example"),
        ("https://[400::1]:8443/", "[400::1]"),
    ] {
        assert_eq!(authorities(uri, named), Err(RequestError::MultipleHosts), "{uri}, {named}");
    }
    for bad in ["", ":443", "user@a.example", "a.example:x", "a b", "[::1", "[::1]x", "[::1]:x", "[a]", "a/b"]
    {
        assert_eq!(host(Version::HTTP_11, "/", &[bad]), Err(RequestError::InvalidHost), "{bad}");
    }
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, HeaderValue::from_static(value));
    }
    map
}

fn forwarded(pairs: &[(&'static str, &'static str)], upgrade: bool) -> HeaderMap {
    forwarded_with(pairs, upgrade, &[])
}

fn forwarded_with(
    pairs: &[(&'static str, &'static str)],
    upgrade: bool,
    changes: &[FieldChange],
) -> HeaderMap {
    let mut map = headers(pairs);
    let (client, authority) = (HeaderValue::from_static("192.0.2.7"), HeaderValue::from_static("a.example"));
    to_backend(
        &mut map,
        Forwarded {
            client: &client,
            authority: &authority,
            proto: "https",
            cdn_id: &HeaderValue::from_static("gw.example"),
            upgrade,
            changes,
        },
    );
    map
}

#[test]
fn the_user_of_a_request_is_the_authenticated_one() {
    let removed = [AUTHORIZATION, REMOTE_USER, X_FORWARDED_USER].map(|name| (name, None));
    let alice = Some(HeaderValue::from_static("alice"));
    let added = [(REMOTE_USER, alice.clone()), (X_FORWARDED_USER, alice)];
    let changes: Vec<FieldChange> = removed.into_iter().chain(added).collect();
    let map = forwarded_with(
        &[
            ("authorization", "Basic YWxpY2U6cw=="),
            ("remote-user", "admin"),
            ("remote-user", "root"),
            ("remote_user", "admin"),
            ("x-forwarded-user", "admin"),
            ("x_forwarded_user", "admin"),
            ("connection", "remote-user, x-forwarded-user, authorization"),
        ],
        false,
        &changes,
    );
    assert_eq!(map.len(), OURS.len() + 2, "{map:?}");
    for name in [REMOTE_USER, X_FORWARDED_USER] {
        assert_eq!(map.get_all(&name).iter().collect::<Vec<_>>(), ["alice"], "{name}");
    }
}

const OURS: [(&str, &str); 5] = [
    ("host", "a.example"),
    ("x-forwarded-for", "192.0.2.7"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "a.example"),
    ("cdn-loop", "gw.example"),
];

#[test]
fn forged_and_hop_by_hop_fields_are_removed() {
    let map = forwarded(
        &[
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x-real-ip", "10.0.0.1"),
            ("forwarded", "for=10.0.0.1"),
            ("x_forwarded_for", "10.0.0.1"),
            ("x-forwarded-port", "1"),
            ("connection", "x-forwarded-for, x-forwarded-proto, host, close"),
            ("te", "gzip"),
            ("keep-alive", "1"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("transfer-encoding", "chunked"),
            ("expect", "100-continue"),
        ],
        false,
    );
    assert_eq!(map.len(), OURS.len(), "{map:?}");
    for (name, value) in OURS {
        assert_eq!(map.get_all(name).iter().collect::<Vec<_>>(), [value], "{name}");
    }
}

#[test]
fn other_fields_are_forwarded() {
    let map = forwarded(
        &[
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("te", "trailers, deflate"),
            ("accept", "*/*"),
            ("content-length", "3"),
            ("connection", "content-length, x-mine"),
            ("x-mine", "1"),
            ("cdn-loop", "other"),
        ],
        false,
    );
    assert_eq!(map["cookie"], "a=1; b=2");
    assert_eq!(map["te"], "trailers");
    assert_eq!(map["accept"], "*/*");
    assert_eq!(map["content-length"], "3");
    assert!(!map.contains_key("x-mine") && map["connection"] == "te");
    assert_eq!(map.get_all("cdn-loop").iter().count(), 2);
    assert!(is_loop(&map, "gw.example") && is_loop(&map, "other") && !is_loop(&map, "gw"));
}

#[test]
fn only_websocket_is_an_upgrade() {
    let upgrade = Request::get("/")
        .header("connection", "keep-alive, Upgrade")
        .header("upgrade", "websocket")
        .body(())
        .unwrap();
    assert!(is_websocket_upgrade(&upgrade));
    let unnamed = Request::get("/").header("upgrade", "websocket").body(()).unwrap();
    assert!(!is_websocket_upgrade(&unnamed));
    let map = forwarded(&[("upgrade", "h2c, WebSocket"), ("connection", "upgrade")], true);
    assert_eq!(
        (&map["connection"], &map["upgrade"]),
        (&"upgrade".parse().unwrap(), &"websocket".parse().unwrap())
    );
    let mut response =
        headers(&[("connection", "Upgrade"), ("upgrade", "WebSocket"), ("sec-websocket-accept", "x")]);
    assert!(switches_to_websocket(&response));
    to_client(&mut response, true);
    assert_eq!(response.len(), 3);
    to_client(&mut response, false);
    assert_eq!(response.len(), 1);
    assert!(
        !switches_to_websocket(&response)
            && !switches_to_websocket(&headers(&[("upgrade", "websocket, h2c")]))
    );
}

#[test]
fn ambiguous_framing_is_refused() {
    for (bad, pairs) in [
        (false, headers(&[("content-length", "1")])),
        (false, headers(&[("transfer-encoding", "Chunked")])),
        (true, headers(&[("transfer-encoding", "chunked"), ("content-length", "1")])),
        (true, headers(&[("transfer-encoding", "gzip, chunked")])),
        (true, headers(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")])),
        (true, headers(&[("transfer-encoding", "identity")])),
        (false, headers(&[("content-length", "1"), ("content-length", "1")])),
        (true, headers(&[("content-length", "1"), ("content-length", "2")])),
        (true, headers(&[("content-length", "-1")])),
    ] {
        assert_eq!(check_framing(&pairs).is_err(), bad, "{pairs:?}");
    }
}

proptest! {
    #[test]
    fn a_valid_host_is_normal(text in "[a-zA-Z0-9.:@/_ -]{0,24}") {
        if let Ok(host) = normal_host(&text) {
            prop_assert!(!host.is_empty() && !host.contains(['@', '/', ' ']));
            prop_assert_eq!(host.to_ascii_lowercase(), host);
        }
    }
}
