//! Signatures of API requests: each scenario has one defect, and the API refuses it.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use webgateway_tests::client::{Connection, Reply, exchange};
use webgateway_tests::clock;
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::gwctl::User;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::signer::{SignatureParams, Signer, call, send, tamper};

scenarios![
    an_unsigned_request_gives_401,
    a_nonce_is_accepted_once,
    an_old_signature_is_refused,
    a_changed_body_is_refused,
    a_changed_parameter_is_refused,
    a_signature_of_a_proxy_is_ignored,
    a_contradicting_algorithm_is_refused,
    an_unknown_key_is_refused,
    a_key_id_cannot_be_a_path,
    another_authority_is_refused,
    a_batch_needs_one_signature,
    openssh_and_raw_keys_are_accepted,
    a_new_key_is_accepted_at_once,
    json_rpc_errors_are_specific,
    garbage_is_refused,
    the_api_describes_itself,
    a_retry_returns_the_same_route,
    a_stale_update_is_refused,
];

struct SignedApi {
    controlplane: Controlplane,
    signer: Signer,
    alice: User,
}

impl SignedApi {
    async fn start(sandbox: &Sandbox) -> Result<Self> {
        let controlplane = Controlplane::start(sandbox).await?;
        let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
        Ok(Self { signer: Signer::for_user(&alice)?, controlplane, alice })
    }

    async fn connect(&self) -> Result<Connection> {
        Connection::plain(self.controlplane.rpc()?).await
    }

    async fn call(&self, method: &str, params: Value) -> Result<Reply> {
        self.signer.call(&mut self.connect().await?, &self.controlplane.url(), method, params).await
    }

    fn signed(&self, body: &Value, stamp: &SignatureParams) -> Result<Request<Bytes>> {
        self.signer.post(&self.controlplane.url(), &body.to_string(), stamp)
    }

    /// Sends a valid request that was changed after it was signed.
    async fn tampered(&self, change: impl FnOnce(&mut Request<Bytes>) -> Result<()>) -> Result<Reply> {
        let mut request = self.signed(&create("tampered"), &SignatureParams::fresh())?;
        change(&mut request)?;
        self.send(request).await
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Reply> {
        send(&mut self.connect().await?, request).await
    }

    async fn hosts(&self) -> Result<Vec<String>> {
        let list = self.call("routes.list", json!({})).await?.expect(200)?.json()?;
        let routes = list["result"]["routes"].as_array().cloned().unwrap_or_default();
        Ok(routes.iter().filter_map(|route| route["host"].as_str().map(str::to_owned)).collect())
    }
}

fn create(subdomain: &str) -> Value {
    call("routes.create", json!({"subdomain": subdomain, "backends": ["[400::1]:81"]}))
}

/// Fails unless the refusal names the failed requirement and how to sign.
fn expect_refused(reply: Reply, word: &str) -> Result<()> {
    let reply = reply.expect(401)?;
    ensure!(!reply.header("accept-signature").is_empty(), "{reply:?}");
    let error = reply.json()?["error"].clone();
    ensure!(error["code"] == -32001, "{error}");
    ensure!(error.to_string().contains(word), "it should say {word:?}: {error}");
    Ok(())
}

async fn an_unsigned_request_gives_401(sandbox: &Sandbox) -> Result<()> {
    let api = SignedApi::start(sandbox).await?;
    let body = create("unsigned").to_string();
    let request = Request::post(api.controlplane.url()).header("content-type", "application/json");
    expect_refused(api.send(request.body(Bytes::from(body))?).await?, "signed")?;
    ensure!(api.hosts().await?.is_empty());
    Ok(())
}

async fn a_nonce_is_accepted_once(sandbox: &Sandbox) -> Result<()> {
    let api = SignedApi::start(sandbox).await?;
    let stamp = SignatureParams::fresh();
    api.send(api.signed(&create("once"), &stamp)?).await?.expect(200)?;
    expect_refused(api.send(api.signed(&create("once"), &stamp)?).await?, "nonce")?;
    expect_refused(api.send(api.signed(&create("twice"), &stamp)?).await?, "nonce")?;
    ensure!(api.hosts().await? == ["once.gw.example"]);
    Ok(())
}

async fn an_old_signature_is_refused(sandbox: &Sandbox) -> Result<()> {
    let api = SignedApi::start(sandbox).await?;
    for distance in [-400, 400] {
        let stamp = SignatureParams { created: clock::now() + distance, ..SignatureParams::fresh() };
        expect_refused(api.send(api.signed(&create("old"), &stamp)?).await?, "clock")?;
    }
    for distance in [-250, 250] {
        let stamp = SignatureParams { created: clock::now() + distance, ..SignatureParams::fresh() };
        api.send(api.signed(&call("routes.list", json!({})), &stamp)?).await?.expect(200)?;
    }
    ensure!(api.hosts().await?.is_empty());
    Ok(())
}

async fn a_changed_body_is_refused(sandbox: &Sandbox) -> Result<()> {
    let api = SignedApi::start(sandbox).await?;
    let changed = api.tampered(|request| {
        *request.body_mut() = Bytes::from(create("changed").to_string());
        Ok(())
    });
    expect_refused(changed.await?, "igest")?;
    let other_digest = api.tampered(|request| {
        *request.body_mut() = Bytes::from(create("changed").to_string());
        let digest = webgateway_proto::httpsig::content_digest(request.body());
        request.headers_mut().insert("content-digest", digest);
        Ok(())
    });
    expect_refused(other_digest.await?, "")?;
    let no_digest = api.tampered(|request| {
        request.headers_mut().remove("content-digest");
        Ok(())
    });
    expect_refused(no_digest.await?, "igest")?;
    ensure!(api.hosts().await?.is_empty());
    Ok(())
}

async fn a_changed_parameter_is_refused(sandbox: &Sandbox) -> Result<()> {
    let api = SignedApi::start(sandbox).await?;
    let changes: [fn(&str) -> String; 4] = [
        |input| input.replace("\"content-digest\"", ""),
        |input| input.replace("\"@method\" ", ""),
        |input| input.replace(";nonce=\"", ";nonce=\"x"),
        |input| format!("{input}, sig1=(\"@method\");created=1"),
    ];
    for change in changes {
        let reply = api.tampered(|request| tamper(request, "signature-input", change)).await?;
        expect_refused(reply, "")?;
    }
    let reply = api.tampered(|request| tamper(request, "signature", |_| "sig1=:AAAA:".into())).await?;
    expect_refused(reply, "")?;
    ensure!(api.hosts().await?.is_empty());
    Ok(())
}

async fn a_signature_of_a_proxy_is_ignored(sandbox: &Sandbox) -> Result<()> {
    let api = SignedApi::start(sandbox).await?;
    let own = r#"proxy=("@authority");created=1;keyid="proxy.pub""#;
    let behind = api.tampered(|request| {
        request.headers_mut().append("signature-input", own.parse()?);
        request.headers_mut().append("signature", "proxy=:AAAA:".parse()?);
        Ok(())
    });
    behind.await?.expect(200)?;
    ensure!(api.hosts().await? == ["tampered.gw.example"]);
    let before = api.tampered(|request| {
        tamper(request, "signature-input", |input| format!("{own}, {}", input.replace("@method", "@path")))?;
        tamper(request, "signature", |signature| format!("proxy=:AAAA:, {signature}"))
    });
    let reply = before.await?;
    ensure!(reply.json()?["error"]["data"]["kind"] == "several_signatures", "{reply:?}");
    expect_refused(reply, "sig1")
}

async fn a_contradicting_algorithm_is_refused(sandbox: &Sandbox) -> Result<()> {
    let api = SignedApi::start(sandbox).await?;
    for other in ["hmac-sha256", "rsa-v1_5-sha256", "none"] {
        let change = |input: &str| input.replace("alg=\"ed25519\"", &format!("alg=\"{other}\""));
        expect_refused(api.tampered(|request| tamper(request, "signature-input", change)).await?, "")?;
    }
    Ok(())
}

async fn an_unknown_key_is_refused(sandbox: &Sandbox) -> Result<()> {
    let api = SignedApi::start(sandbox).await?;
    let unknown = Signer::for_user(&api.alice.claiming("nobody.pub"))?;
    let request =
        unknown.post(&api.controlplane.url(), &create("x").to_string(), &SignatureParams::fresh())?;
    expect_refused(api.send(request).await?, "")?;
    Ok(())
}

async fn a_key_id_cannot_be_a_path(sandbox: &Sandbox) -> Result<()> {
    let api = SignedApi::start(sandbox).await?;
    for id in ["../alice.pub", "keys/alice.pub", "/etc/passwd", "alice.pub/", "ALICE.pub", ""] {
        let change = |input: &str| input.replace("keyid=\"alice.pub\"", &format!("keyid=\"{id}\""));
        expect_refused(api.tampered(|request| tamper(request, "signature-input", change)).await?, "")?;
    }
    Ok(())
}

async fn another_authority_is_refused(sandbox: &Sandbox) -> Result<()> {
    let api = SignedApi::start(sandbox).await?;
    let elsewhere = "http://other.example:8080/rpc";
    let request = api.signer.post(elsewhere, &create("x").to_string(), &SignatureParams::fresh())?;
    expect_refused(api.send(request).await?, "")?;
    ensure!(api.hosts().await?.is_empty());
    Ok(())
}

async fn a_batch_needs_one_signature(sandbox: &Sandbox) -> Result<()> {
    let api = SignedApi::start(sandbox).await?;
    let batch = json!([
        {"jsonrpc": "2.0", "method": "routes.create", "id": "a", "params": {"subdomain": "one", "backends": ["[400::1]:81"]}},
        {"jsonrpc": "2.0", "method": "routes.create", "params": {"subdomain": "two", "backends": ["[400::1]:81"]}},
        {"jsonrpc": "2.0", "method": "no.such", "id": -1},
        {"jsonrpc": "2.0", "method": "version", "id": 1.5},
        1,
    ]);
    let reply = api.send(api.signed(&batch, &SignatureParams::fresh())?).await?.expect(200)?.json()?;
    let responses = reply.as_array().context("an array")?;
    ensure!(responses.len() == 4, "a notification has no answer: {reply}");
    let by_id =
        |id: Value| responses.iter().find(|response| response["id"] == id).cloned().unwrap_or_default();
    ensure!(by_id(json!("a"))["result"]["host"] == "one.gw.example", "{reply}");
    ensure!(by_id(json!(-1))["error"]["code"] == -32601, "{reply}");
    ensure!(!by_id(json!(1.5))["result"].is_null(), "{reply}");
    ensure!(by_id(Value::Null)["error"]["code"] == -32600, "{reply}");
    ensure!(api.hosts().await? == ["one.gw.example", "two.gw.example"], "a notification is carried out");

    let unsigned = json!([call("version", json!({})), create("unsigned")]).to_string();
    let request = Request::post(api.controlplane.url()).header("content-type", "application/json");
    let reply = api.send(request.body(Bytes::from(unsigned))?).await?;
    ensure!(reply.status == 401, "{reply:?}");
    Ok(())
}

async fn openssh_and_raw_keys_are_accepted(sandbox: &Sandbox) -> Result<()> {
    let api = SignedApi::start(sandbox).await?;
    let public = webgateway_proto::httpsig::PrivateKey::parse(&std::fs::read_to_string(api.alice.key())?)?;
    let public = raw_of_spki(&public.public().to_pem())?;
    let raw = base64(&public);
    // The OpenSSH format (RFC 8709): the key type and the key, each with its length.
    let mut blob = vec![0, 0, 0, 11];
    blob.extend(b"ssh-ed25519");
    blob.extend([0, 0, 0, 32]);
    blob.extend(&public);
    for (id, content) in [
        ("ssh.pub", format!("ssh-ed25519 {} alice@laptop\n", base64(&blob))),
        ("raw.pub", format!("{raw}\n")),
    ] {
        std::fs::write(api.controlplane.keys().join(id), content)?;
        let listed = api.alice.claiming(id).gwctl(["routes", "list"]).await?;
        ensure!(listed.code == Some(0), "{id}: {listed:?}");
    }
    Ok(())
}

/// Returns the last 32 bytes of an SPKI PEM, which are the raw ed25519 key.
fn raw_of_spki(pem: &str) -> Result<Vec<u8>> {
    use base64::Engine as _;
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(text)?;
    Ok(der[der.len() - 32..].to_vec())
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

async fn a_new_key_is_accepted_at_once(sandbox: &Sandbox) -> Result<()> {
    let api = SignedApi::start(sandbox).await?;
    let bob = User::create(&api.controlplane, sandbox.dir(), "bob").await?;
    ensure!(bob.gwctl(["routes", "list"]).await?.code == Some(0));
    std::fs::remove_file(api.controlplane.keys().join("bob.pub"))?;
    let refused = bob.gwctl(["routes", "list"]).await?;
    ensure!(refused.code == Some(4), "{refused:?}");
    std::fs::write(api.controlplane.keys().join("bob.pub"), "no key")?;
    let refused = bob.gwctl(["routes", "list"]).await?;
    ensure!(refused.code != Some(0), "{refused:?}");
    Ok(())
}

async fn json_rpc_errors_are_specific(sandbox: &Sandbox) -> Result<()> {
    let api = SignedApi::start(sandbox).await?;
    let cases = [
        ("{", -32700),
        ("", -32700),
        ("[]", -32600),
        ("1", -32600),
        (r#"{"jsonrpc":"1.0","method":"version","id":1}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1}"#, -32600),
        (r#"{"jsonrpc":"2.0","method":"no.such","id":1}"#, -32601),
        (r#"{"jsonrpc":"2.0","method":"routes.get","id":1}"#, -32602),
        (r#"{"jsonrpc":"2.0","method":"routes.get","params":{"id":"x"},"id":1}"#, -32602),
        (r#"{"jsonrpc":"2.0","method":"routes.list","params":{"colour":"red"},"id":1}"#, -32602),
    ];
    for (body, code) in cases {
        let request = api.signer.post(&api.controlplane.url(), body, &SignatureParams::fresh())?;
        let reply = api.send(request).await?.json()?;
        ensure!(reply["error"]["code"] == code, "{body}: {reply}");
    }
    Ok(())
}

async fn garbage_is_refused(sandbox: &Sandbox) -> Result<()> {
    let mut api = SignedApi::start(sandbox).await?;
    let address = api.controlplane.rpc()?;
    for bytes in [&b"\x16\x03\x01\x02\x00"[..], b"SSH-2.0-x\r\n\r\n", b"GET / HTTP/9\r\n\r\n"] {
        let response = exchange(address, &[bytes, &[b'\n'; 4]].concat()).await?;
        ensure!(
            response.is_empty() || response.starts_with(b"HTTP/1.1 4"),
            "{}",
            String::from_utf8_lossy(&response)
        );
    }
    let mut connection = api.connect().await?;
    let get = connection.get("127.0.0.1:8080", "/rpc").await?;
    ensure!(get.status == 405, "{get:?}");
    ensure!(api.connect().await?.get("127.0.0.1:8080", "/nowhere").await?.status == 404);
    let mut connection = api.connect().await?;
    let large = Full::from(vec![b' '; (1 << 20) + 1]);
    let post = connection.request(Method::POST, "127.0.0.1:8080", "/rpc").body(large)?;
    ensure!(connection.send(post).await?.status == 413);
    api.controlplane.process().ensure_running()?;
    ensure!(api.hosts().await?.is_empty());
    Ok(())
}

async fn the_api_describes_itself(sandbox: &Sandbox) -> Result<()> {
    let api = SignedApi::start(sandbox).await?;
    let document = api.connect().await?.get("127.0.0.1:8080", "/openrpc.json").await?.expect(200)?.json()?;
    ensure!(document["openrpc"].as_str().is_some_and(|v| v.starts_with("1.3")), "{document}");
    let methods = document["methods"].as_array().context("methods")?;
    for name in ["routes.create", "routes.list", "admin.suspend", "health", "version"] {
        ensure!(methods.iter().any(|method| method["name"] == name), "{name} is not described");
    }
    let request = Request::post(api.controlplane.url()).header("content-type", "application/json");
    let discover = request.body(Bytes::from(call("rpc.discover", json!({})).to_string()))?;
    ensure!(api.send(discover).await?.expect(200)?.json()?["result"] == document, "one document");
    let checked_in = concat!(env!("CARGO_MANIFEST_DIR"), "/../controlplane/openrpc.json");
    let checked_in: Value = serde_json::from_str(&std::fs::read_to_string(checked_in)?)?;
    ensure!(checked_in == document, "controlplane/openrpc.json is the one that is served");
    Ok(())
}

async fn a_retry_returns_the_same_route(sandbox: &Sandbox) -> Result<()> {
    let api = SignedApi::start(sandbox).await?;
    let id = uuid::Uuid::now_v7();
    let params = json!({"subdomain": "retry", "backends": ["[400::1]:81"], "id": id});
    let first = api.call("routes.create", params.clone()).await?.expect(200)?.json()?;
    let second = api.call("routes.create", params).await?.expect(200)?.json()?;
    ensure!(
        first["result"]["id"] == id.to_string() && first["result"] == second["result"],
        "{first} {second}"
    );
    let other = json!({"subdomain": "other", "backends": ["[400::1]:81"], "id": id});
    let refused = api.call("routes.create", other).await?.json()?;
    ensure!(refused["error"]["code"] == -32009, "{refused}");
    ensure!(api.hosts().await? == ["retry.gw.example"]);
    Ok(())
}

async fn a_stale_update_is_refused(sandbox: &Sandbox) -> Result<()> {
    let api = SignedApi::start(sandbox).await?;
    let made = api.call("routes.create", create("stale")["params"].clone()).await?.expect(200)?.json()?;
    let (id, version) = (made["result"]["id"].clone(), made["result"]["version"].clone());
    let update = |backend: &str| json!({"id": id, "backends": [backend], "expected_version": version});
    let fresh = api.call("routes.update", update("[400::2]:81")).await?.expect(200)?.json()?;
    ensure!(fresh["result"]["backends"][0] == "[400::2]:81", "{fresh}");
    let stale = api.call("routes.update", update("[400::3]:81")).await?.json()?;
    ensure!(stale["error"]["code"] == -32009, "{stale}");
    let now = api.call("routes.get", json!({"id": id})).await?.expect(200)?.json()?;
    ensure!(now["result"]["backends"][0] == "[400::2]:81", "{now}");
    Ok(())
}
