//! Tests of the accepted forms of signatures, among them that of the predecessor, and of several signatures in one
//! request.

use ::http::{Method, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::format_description::well_known::Rfc2822;
use webgateway_proto::httpsig::content_digest;

use super::signatures::{LIST, create, refusal_kind};
use super::*;

/// The components that a signature of the predecessor covers.
const PREDECESSOR: &[&str] = &["@request-target", "date", "content-digest"];

/// A signature whose base is built here, without the code under test.
struct ManualSignature<'a> {
    covered: &'a [&'a str],
    params: String,
    /// The Date field as seconds from now; `None` for a request without one.
    date: Option<i64>,
    key: PrivateKey,
}

impl ManualSignature<'_> {
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

    /// Adds the signature in header lines of its own.
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
async fn the_predecessors_form_is_accepted_for_reads_and_mutations() {
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
            let form = ManualSignature { covered, key: key.clone(), ..ManualSignature::predecessor() };
            for body in [LIST.to_owned(), create(&format!("a{at}{n}"))] {
                let (status, response) = status_and_body(fixture.send(form.request(&body)).await);
                assert_eq!(
                    (status, &response["error"]),
                    (StatusCode::OK, &Value::Null),
                    "{covered:?} {response}"
                );
            }
        }
    }
    // The key file now has the RSA key.
    let key = PrivateKey::parse(include_str!("../../../../proto/src/httpsig/samples/rsa.priv")).unwrap();
    let (_, response) = status_and_body(
        fixture.send(ManualSignature { key, ..ManualSignature::predecessor() }.request(LIST)).await,
    );
    assert_eq!(response["result"]["routes"].as_array().unwrap().len(), 6);
}

/// Tests that a foreign `Host` is refused if the signature covers it, and otherwise ignored.
#[tokio::test]
async fn the_authority_is_checked_if_it_is_covered_or_required() {
    let elsewhere = Uri::from_static("http://tunnel.example:9000/rpc");
    let with_authority = ["@request-target", "@authority", "date", "content-digest"];
    let fixture = ApiFixture::new();
    let mut request = ManualSignature::predecessor().request(LIST);
    *request.uri_mut() = elsewhere.clone();
    assert_eq!(fixture.send(request).await.status(), StatusCode::OK);
    let fixture = ApiFixture::requiring(&["@authority"]);
    assert_eq!(refusal_kind(fixture.send(ManualSignature::predecessor().request(LIST)).await), "not_covered");
    let form = ManualSignature { covered: &with_authority, ..ManualSignature::predecessor() };
    assert_eq!(fixture.send(form.request(LIST)).await.status(), StatusCode::OK);
    let mut request = form.request(LIST);
    *request.uri_mut() = elsewhere;
    assert_eq!(refusal_kind(fixture.send(request).await), "wrong_authority");
    assert_eq!(
        fixture.send(fixture.signed("user1.pub", URL, LIST)).await.status(),
        StatusCode::OK,
        "the form of gwctl"
    );
    let fixture = ApiFixture::requiring(&["@authority", "date"]);
    let response = fixture.send(fixture.signed("user1.pub", URL, LIST)).await;
    let accept = response.headers()["accept-signature"].clone();
    assert_eq!(refusal_kind(response), "not_covered");
    assert_eq!(accept, r#"sig1=("@method" "@target-uri" "content-digest" "date");created;keyid;nonce"#);
}

#[tokio::test]
async fn each_requirement_of_the_predecessors_form_has_its_error() {
    let fixture = ApiFixture::new();
    let valid = ManualSignature::predecessor;
    let dated = |seconds| ManualSignature { date: Some(seconds), ..valid() }.request(LIST);
    let with = |name: &'static str, value: &str| {
        let mut request = valid().request(LIST);
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    let (mut path, mut verb) = (valid().request(LIST), valid().request(LIST));
    *path.uri_mut() = Uri::from_static("http://localhost:8080/rpc?x=1");
    *verb.method_mut() = Method::POST;
    *verb.body_mut() = Bytes::from_static(b"{}");
    let covering = |covered| ManualSignature { covered, ..valid() }.request(LIST);
    let created = |by: i64| {
        let created = Clock::system().now().unix_timestamp() + by;
        ManualSignature { params: format!(";created={created}"), ..valid() }.request(LIST)
    };
    for (request, kind) in [
        (dated(-400), "stale"),
        (dated(400), "stale"),
        (created(400), "stale"),
        (created(-400), "stale"),
        (ManualSignature { date: None, ..valid() }.request(LIST), "component"),
        (with("date", "yesterday"), "signature_malformed"),
        (with("date", "Sun, 06 Nov 1994 08:49:37 GMT"), "stale"),
        (path, "forged"),
        (verb, "digest_mismatch"),
        (covering(&["@request-target", "date"]), "not_covered"),
        (covering(&["date", "content-digest"]), "not_covered"),
        (covering(&["@path", "date", "content-digest"]), "not_covered"),
        (covering(&["@request-target", "content-digest"]), "signature_parameter"),
        (ManualSignature { params: ";alg=\"rsa-pss-sha512\"".into(), ..valid() }.request(LIST), "algorithm"),
        (ManualSignature { key: key("user2.pub"), ..valid() }.request(LIST), "forged"),
    ] {
        let text = format!("{:?}", request.headers());
        assert_eq!(refusal_kind(fixture.send(request).await), kind, "{text}");
    }
    let (_, response) = status_and_body(fixture.send(dated(-3600)).await);
    let error = &response["error"];
    assert_eq!(error["data"]["field"], "date");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("360") && message.contains("s ago") && message.contains("check the clock"),
        "{message}"
    );
    assert_eq!(fixture.send(created(0)).await.status(), StatusCode::OK, "with `created` and `date`");
}

#[tokio::test]
async fn a_mutation_without_a_nonce_is_accepted_once() {
    let id = "01998c00-0000-7000-8000-000000000001";
    let params = json!({ "id": id, "subdomain": "a", "backends": ["[400::1]:80"] });
    let create = json!({ "jsonrpc": "2.0", "method": "routes.create", "params": params, "id": 1 });
    let delete = json!({ "jsonrpc": "2.0", "method": "routes.delete", "params": { "id": id }, "id": 1 });
    let list: Value = serde_json::from_str(LIST).unwrap();
    for body in [delete.clone(), json!([list, delete])] {
        let fixture = ApiFixture::new();
        fixture.post("user1.pub", &create.to_string()).await;
        let request = ManualSignature::predecessor().request(&body.to_string());
        let (status, response) = status_and_body(fixture.send(request.clone()).await);
        assert_eq!(status, StatusCode::OK, "{response}");
        fixture.post("user1.pub", &create.to_string()).await;
        assert_eq!(refusal_kind(fixture.send(request.clone()).await), "replayed");
        let mut relabelled = request.clone();
        for name in ["signature", "signature-input"] {
            let value = relabelled.headers()[name].to_str().unwrap().replace("sig1=", "other=");
            relabelled.headers_mut().insert(name, value.parse().unwrap());
        }
        assert_eq!(refusal_kind(fixture.send(relabelled).await), "replayed");
        let fixture = fixture.restarted();
        assert_eq!(refusal_kind(fixture.send(request).await), "replayed");
        let routes = fixture.call("user1.pub", "routes.list", json!({})).await.unwrap();
        assert_eq!(routes["routes"].as_array().unwrap().len(), 1);
    }
}

/// Tests that two equal reads within one second, which have the same signature, are both accepted.
#[tokio::test]
async fn a_read_without_a_nonce_may_be_repeated() {
    let fixture = ApiFixture::new();
    let request = ManualSignature::predecessor().request(LIST);
    for _ in 0..2 {
        assert_eq!(fixture.send(request.clone()).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn the_first_valid_signature_of_several_is_used() {
    let proxy = |id: &str, request: &mut Request<Bytes>| {
        let created = format!(";created={}", Clock::system().now().unix_timestamp());
        let form =
            ManualSignature { covered: &["@authority"], params: created, ..ManualSignature::predecessor() };
        form.sign(request, id.trim_end_matches(".pub"), id);
    };
    let fixture = ApiFixture::new();
    for id in ["proxy.pub", "user2.pub", "user1.pub"] {
        let mut appended = fixture.signed("user1.pub", URL, LIST);
        proxy(id, &mut appended);
        assert_eq!(fixture.send(appended).await.status(), StatusCode::OK, "{id} appended its signature");
        let mut prepended = unsigned(URL, LIST);
        proxy(id, &mut prepended);
        let signed = fixture.signed("user1.pub", URL, LIST);
        for name in ["signature-input", "signature"] {
            let joined = format!(
                "{}, {}",
                prepended.headers()[name].to_str().unwrap(),
                signed.headers()[name].to_str().unwrap()
            );
            prepended.headers_mut().insert(name, joined.parse().unwrap());
        }
        prepended.headers_mut().insert("content-digest", signed.headers()["content-digest"].clone());
        assert_eq!(fixture.send(prepended).await.status(), StatusCode::OK, "{id} prepended its signature");
    }
}

#[tokio::test]
async fn if_no_signature_is_valid_the_best_one_is_reported() {
    let fixture = ApiFixture::new();
    let two = |second: &ManualSignature<'_>, id: &str| {
        let mut request =
            ManualSignature { key: key("other"), ..ManualSignature::predecessor() }.request(LIST);
        second.sign(&mut request, "sig2", id);
        request
    };
    let valid = ManualSignature::predecessor;
    let uncovered = ManualSignature { covered: &["date"], ..valid() };
    for (request, reason) in [
        (two(&uncovered, "user2.pub"), "`sig1`: the signature does not verify"),
        (two(&valid(), "nobody.pub"), "`sig1`: the signature does not verify"),
    ] {
        let (status, response) = status_and_body(fixture.send(request).await);
        let error = &response["error"];
        assert_eq!(
            (status, &error["data"]["kind"]),
            (StatusCode::UNAUTHORIZED, &json!("several_signatures"))
        );
        assert!(error["message"].as_str().unwrap().contains(reason), "{error}");
    }
    let mut stale = ManualSignature { date: Some(-1000), ..valid() }.request(LIST);
    let created = format!(";created={}", Clock::system().now().unix_timestamp());
    let proxy =
        ManualSignature { covered: &["@method", "@path", "content-digest"], params: created, ..valid() };
    proxy.sign(&mut stale, "proxy", "proxy.pub");
    let (_, response) = status_and_body(fixture.send(stale).await);
    assert!(response["error"]["message"].as_str().unwrap().contains("check the clock"), "{response}");
}

#[tokio::test]
async fn the_evidence_of_the_predecessors_form_can_be_verified() {
    let fixture = ApiFixture::new();
    let (status, response) =
        status_and_body(fixture.send(ManualSignature::predecessor().request(&create("a"))).await);
    assert_eq!((status, &response["error"]), (StatusCode::OK, &Value::Null), "{response}");
    let audit = fixture.call("admin.pub", "audit.export", json!({ "after": 0 })).await.unwrap();
    let evidence = audit["requests"].as_object().unwrap().values().next().unwrap();
    let evidence: webgateway_proto::httpsig::Evidence = serde_json::from_value(evidence.clone()).unwrap();
    assert_eq!(evidence.check().unwrap().as_str(), "user1.pub");
}
