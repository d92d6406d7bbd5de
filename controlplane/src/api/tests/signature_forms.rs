//! The forms of a signature that are taken, the predecessor's among them; and several signatures in one request.

use ::http::{Method, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::format_description::well_known::Rfc2822;
use webgateway_proto::httpsig::content_digest;

use super::signatures::{LIST, create, refusal};
use super::*;

/// The components of the predecessor's form.
const PREDECESSOR: &[&str] = &["@request-target", "date", "content-digest"];

/// A signature by hand: no code of ours makes the base.
struct ByHand<'a> {
    covered: &'a [&'a str],
    params: String,
    /// Seconds from now of the Date field, if there is one.
    date: Option<i64>,
    key: PrivateKey,
}

impl ByHand<'_> {
    fn predecessor() -> Self {
        Self { covered: PREDECESSOR, params: String::new(), date: Some(0), key: key("user1.pub") }
    }

    fn request(&self, body: &str) -> Request<Bytes> {
        let mut request = unsigned(URL, body);
        request.headers_mut().insert("content-digest", content_digest(body.as_bytes()));
        if let Some(offset) = self.date {
            let date = Clock::system().now() + time::Duration::seconds(offset);
            let date = date.format(&Rfc2822).unwrap().replace("+0000", "GMT");
            request.headers_mut().insert("date", date.parse().unwrap());
        }
        self.sign(&mut request, "sig1", "user1.pub");
        request
    }

    /// Adds a signature on lines of its own.
    fn sign(&self, request: &mut Request<Bytes>, label: &str, id: &str) {
        let covered: Vec<String> = self.covered.iter().map(|name| format!("\"{name}\"")).collect();
        let params = format!("({});keyid=\"{id}\"{}", covered.join(" "), self.params);
        let mut base = String::new();
        for name in self.covered {
            let value = match *name {
                "@request-target" | "@path" => request.uri().path(),
                "@method" => "POST",
                "@authority" => request.uri().authority().unwrap().as_str(),
                field => request.headers().get(field).map_or("", |value| value.to_str().unwrap()),
            };
            base += &format!("\"{name}\": {value}\n");
        }
        base += &format!("\"@signature-params\": {params}");
        let signature = STANDARD.encode(self.key.sign(&base));
        let headers = request.headers_mut();
        headers.append("signature-input", format!("{label}={params}").parse().unwrap());
        headers.append("signature", format!("{label}=:{signature}:").parse().unwrap());
    }
}

#[tokio::test]
async fn the_predecessors_form_reads_and_changes() {
    let fixture = ApiFixture::new();
    let rsa = PrivateKey::parse(include_str!("../../../../proto/src/httpsig/samples/rsa.priv")).unwrap();
    for (at, key) in [key("user1.pub"), rsa].into_iter().enumerate() {
        fs::write(fixture.dir.path().join("keys/user1.pub"), key.public().to_pem()).unwrap();
        for (n, covered) in [
            PREDECESSOR,
            &["content-digest", "date", "@request-target"],
            &["@method", "@path", "date", "content-digest"],
        ]
        .into_iter()
        .enumerate()
        {
            let form = ByHand { covered, key: key.clone(), ..ByHand::predecessor() };
            for body in [LIST.to_owned(), create(&format!("a{at}{n}"))] {
                let (status, answer) = read(fixture.send(form.request(&body)).await);
                assert_eq!(
                    (status, &answer["error"]),
                    (StatusCode::OK, &Value::Null),
                    "{covered:?} {answer}"
                );
            }
        }
    }
    // With the key that the file has now.
    let key = PrivateKey::parse(include_str!("../../../../proto/src/httpsig/samples/rsa.priv")).unwrap();
    let (_, answer) = read(fixture.send(ByHand { key, ..ByHand::predecessor() }.request(LIST)).await);
    assert_eq!(answer["result"]["routes"].as_array().unwrap().len(), 6);
}

/// A Host that is not ours is no concern of a signature that does not name it; one that does is refused.
#[tokio::test]
async fn the_authority_counts_where_it_is_signed_or_required() {
    let elsewhere = Uri::from_static("http://tunnel.example:9000/rpc");
    let with_authority = ["@request-target", "@authority", "date", "content-digest"];
    let fixture = ApiFixture::new();
    let mut request = ByHand::predecessor().request(LIST);
    *request.uri_mut() = elsewhere.clone();
    assert_eq!(fixture.send(request).await.status(), StatusCode::OK);
    let fixture = ApiFixture::requiring(&["@authority"]);
    assert_eq!(refusal(fixture.send(ByHand::predecessor().request(LIST)).await), "not_covered");
    let form = ByHand { covered: &with_authority, ..ByHand::predecessor() };
    assert_eq!(fixture.send(form.request(LIST)).await.status(), StatusCode::OK);
    let mut request = form.request(LIST);
    *request.uri_mut() = elsewhere;
    assert_eq!(refusal(fixture.send(request).await), "wrong_authority");
    assert_eq!(
        fixture.send(fixture.signed("user1.pub", URL, LIST)).await.status(),
        StatusCode::OK,
        "as gwctl"
    );
    let fixture = ApiFixture::requiring(&["@authority", "date"]);
    let response = fixture.send(fixture.signed("user1.pub", URL, LIST)).await;
    let accept = response.headers()["accept-signature"].clone();
    assert_eq!(refusal(response), "not_covered");
    assert_eq!(accept, r#"sig1=("@method" "@target-uri" "content-digest" "date");created;keyid;nonce"#);
}

#[tokio::test]
async fn the_predecessors_form_fails_each_requirement_alone() {
    let fixture = ApiFixture::new();
    let good = ByHand::predecessor;
    let dated = |seconds| ByHand { date: Some(seconds), ..good() }.request(LIST);
    let with = |name: &'static str, value: &str| {
        let mut request = good().request(LIST);
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let (mut path, mut verb) = (good().request(LIST), good().request(LIST));
    *path.uri_mut() = Uri::from_static("http://localhost:8080/rpc?x=1");
    *verb.method_mut() = Method::POST;
    *verb.body_mut() = Bytes::from_static(b"{}");
    let covering = |covered| ByHand { covered, ..good() }.request(LIST);
    let created = |by: i64| {
        let created = Clock::system().now().unix_timestamp() + by;
        ByHand { params: format!(";created={created}"), ..good() }.request(LIST)
    };
    for (request, kind) in [
        (dated(-400), "stale"),
        (dated(400), "stale"),
        (created(400), "stale"),
        (created(-400), "stale"),
        (ByHand { date: None, ..good() }.request(LIST), "component"),
        (with("date", "yesterday"), "signature_malformed"),
        (with("date", "Sun, 06 Nov 1994 08:49:37 GMT"), "stale"),
        (path, "forged"),
        (verb, "digest_mismatch"),
        (covering(&["@request-target", "date"]), "not_covered"),
        (covering(&["date", "content-digest"]), "not_covered"),
        (covering(&["@path", "date", "content-digest"]), "not_covered"),
        (covering(&["@request-target", "content-digest"]), "signature_parameter"),
        (ByHand { params: ";alg=\"rsa-pss-sha512\"".into(), ..good() }.request(LIST), "algorithm"),
        (ByHand { key: key("user2.pub"), ..good() }.request(LIST), "forged"),
    ] {
        let text = format!("{:?}", request.headers());
        assert_eq!(refusal(fixture.send(request).await), kind, "{text}");
    }
    let (_, answer) = read(fixture.send(dated(-3600)).await);
    let error = &answer["error"];
    assert_eq!(error["data"]["field"], "date");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("360") && message.contains("s ago") && message.contains("check the clock"),
        "{message}"
    );
    assert_eq!(fixture.send(created(0)).await.status(), StatusCode::OK, "both");
}

#[tokio::test]
async fn the_signature_is_the_one_time_token_of_what_changes_something() {
    let id = "01998c00-0000-7000-8000-000000000001";
    let params = json!({ "id": id, "subdomain": "a", "backends": ["[400::1]:80"] });
    let create = json!({ "jsonrpc": "2.0", "method": "routes.create", "params": params, "id": 1 });
    let delete = json!({ "jsonrpc": "2.0", "method": "routes.delete", "params": { "id": id }, "id": 1 });
    let list: Value = serde_json::from_str(LIST).unwrap();
    for body in [delete.clone(), json!([list, delete])] {
        let fixture = ApiFixture::new();
        fixture.post("user1.pub", &create.to_string()).await;
        let request = ByHand::predecessor().request(&body.to_string());
        let (status, answer) = read(fixture.send(request.clone()).await);
        assert_eq!(status, StatusCode::OK, "{answer}");
        fixture.post("user1.pub", &create.to_string()).await;
        assert_eq!(refusal(fixture.send(request.clone()).await), "replayed");
        let mut relabelled = request.clone();
        for name in ["signature", "signature-input"] {
            let value = relabelled.headers()[name].to_str().unwrap().replace("sig1=", "other=");
            relabelled.headers_mut().insert(name, value.parse().unwrap());
        }
        assert_eq!(refusal(fixture.send(relabelled).await), "replayed");
        let fixture = fixture.restarted();
        assert_eq!(refusal(fixture.send(request).await), "replayed");
        let routes = fixture.call("user1.pub", "routes.list", json!({})).await.unwrap();
        assert_eq!(routes["routes"].as_array().unwrap().len(), 1);
    }
}

/// Two equal reads within a second have one signature: that is no replay.
#[tokio::test]
async fn a_read_without_a_nonce_may_be_repeated() {
    let fixture = ApiFixture::new();
    let request = ByHand::predecessor().request(LIST);
    for _ in 0..2 {
        assert_eq!(fixture.send(request.clone()).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn of_several_signatures_the_first_good_one_counts() {
    let proxy = |id: &str, request: &mut Request<Bytes>| {
        let created = format!(";created={}", Clock::system().now().unix_timestamp());
        let form = ByHand { covered: &["@authority"], params: created, ..ByHand::predecessor() };
        form.sign(request, id.trim_end_matches(".pub"), id);
    };
    let fixture = ApiFixture::new();
    for id in ["proxy.pub", "user2.pub", "user1.pub"] {
        let mut after = fixture.signed("user1.pub", URL, LIST);
        proxy(id, &mut after);
        assert_eq!(fixture.send(after).await.status(), StatusCode::OK, "{id} added its own after it");
        let mut before = unsigned(URL, LIST);
        proxy(id, &mut before);
        let theirs = fixture.signed("user1.pub", URL, LIST);
        for name in ["signature-input", "signature"] {
            let joined = format!(
                "{}, {}",
                before.headers()[name].to_str().unwrap(),
                theirs.headers()[name].to_str().unwrap()
            );
            before.headers_mut().insert(name, joined.parse().unwrap());
        }
        before.headers_mut().insert("content-digest", theirs.headers()["content-digest"].clone());
        assert_eq!(fixture.send(before).await.status(), StatusCode::OK, "{id} put its own before it");
    }
}

#[tokio::test]
async fn where_none_of_several_counts_the_nearest_is_told() {
    let fixture = ApiFixture::new();
    let two = |second: &ByHand<'_>, id: &str| {
        let mut request = ByHand { key: key("other"), ..ByHand::predecessor() }.request(LIST);
        second.sign(&mut request, "sig2", id);
        request
    };
    let good = ByHand::predecessor;
    let uncovered = ByHand { covered: &["date"], ..good() };
    for (request, told) in [
        (two(&uncovered, "user2.pub"), "`sig1`: the signature does not verify"),
        (two(&good(), "nobody.pub"), "`sig1`: the signature does not verify"),
    ] {
        let (status, answer) = read(fixture.send(request).await);
        let error = &answer["error"];
        assert_eq!(
            (status, &error["data"]["kind"]),
            (StatusCode::UNAUTHORIZED, &json!("several_signatures"))
        );
        assert!(error["message"].as_str().unwrap().contains(told), "{error}");
    }
    let mut stale = ByHand { date: Some(-1000), ..good() }.request(LIST);
    let created = format!(";created={}", Clock::system().now().unix_timestamp());
    let proxy = ByHand { covered: &["@method", "@path", "content-digest"], params: created, ..good() };
    proxy.sign(&mut stale, "proxy", "proxy.pub");
    let (_, answer) = read(fixture.send(stale).await);
    assert!(answer["error"]["message"].as_str().unwrap().contains("check the clock"), "{answer}");
}

#[tokio::test]
async fn the_audit_proves_what_was_signed_in_the_predecessors_form() {
    let fixture = ApiFixture::new();
    let (status, answer) = read(fixture.send(ByHand::predecessor().request(&create("a"))).await);
    assert_eq!((status, &answer["error"]), (StatusCode::OK, &Value::Null), "{answer}");
    let audit = fixture.call("admin.pub", "audit.export", json!({ "after": 0 })).await.unwrap();
    let evidence = audit["requests"].as_object().unwrap().values().next().unwrap();
    let evidence: webgateway_proto::httpsig::Evidence = serde_json::from_value(evidence.clone()).unwrap();
    assert_eq!(evidence.check().unwrap().as_str(), "user1.pub");
}
