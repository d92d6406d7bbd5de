//! Signatures by third-party clients in other languages, with their order of components and parameters.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

scenarios![
    python_http_message_signatures,
    npm_http_message_signatures,
    npm_http_message_sig,
    an_incomplete_signature_is_refused_with_the_reason,
    the_document_is_valid_openrpc,
];

const COMPONENT_SETS: &[&str] = &[
    "@method,@target-uri,content-digest",
    "content-digest,@path,@authority,@method",
    "@authority,content-type,@path,content-digest,@method,@query",
    // The form of the preceding gateway, without `created`, nonce and authority.
    "@request-target,date,content-digest",
    "date,content-digest,@path,@method",
];
const RSA: [&str; 2] = ["rsa-pss-sha512", "rsa-v1_5-sha256"];

/// A third-party client: a program and its first arguments.
struct ThirdPartyClient {
    program: PathBuf,
    args: Vec<String>,
}

/// A signing key and its algorithm.
struct Key {
    file: PathBuf,
    id: &'static str,
    algorithm: &'static str,
}

fn installed(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/interop").join(path);
    if !path.exists() {
        println!("{} is not there: `make interop` installs it", path.display());
        return None;
    }
    Some(path)
}

impl ThirdPartyClient {
    /// Returns the client, or `None` if it is not installed.
    fn python() -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/client.py");
        let program = installed("venv/bin/python")?;
        Some(Self { program, args: vec![script.display().to_string()] })
    }

    /// Returns the client, or `None` if it is not installed.
    fn node(library: &str) -> Option<Self> {
        installed(&format!("node_modules/{library}"))?;
        let script = installed("client.mjs")?;
        Some(Self { program: "node".into(), args: vec![script.display().to_string(), library.to_owned()] })
    }

    fn post(&self, url: &str, key: &Key, covered: &str, body: &Value) -> Result<Value> {
        let file = key.file.to_str().context("a path that is text")?;
        let mut command = Command::new(&self.program);
        command.args(&self.args).args([url, file, key.id, key.algorithm, covered, &body.to_string()]);
        let Output { stdout, stderr, .. } = command.output().context("the foreign client does not start")?;
        let said = String::from_utf8_lossy(&stdout);
        serde_json::from_str(&said).with_context(|| String::from_utf8_lossy(&stderr).into_owned())
    }
}

/// Creates an ed25519 key and RSA keys of both kinds, and publishes them to the controlplane.
fn keys(sandbox: &Sandbox, controlplane: &Controlplane) -> Result<Vec<Key>> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/src/httpsig/samples");
    let known = controlplane.keys();
    let seed = sandbox.path("ed.priv");
    let key = webgateway_proto::httpsig::PrivateKey::from_seed(&[9; 32]);
    std::fs::write(&seed, key.to_pem().as_bytes())?;
    std::fs::write(known.join("ed.pub"), key.public().to_pem())?;
    std::fs::copy(samples.join("rsa.pub"), known.join("rsa.pub"))?;
    let rsa = |algorithm| Key { file: samples.join("rsa.priv"), id: "rsa.pub", algorithm };
    Ok([Key { file: seed, id: "ed.pub", algorithm: "ed25519" }].into_iter().chain(RSA.map(rsa)).collect())
}

/// For each key and each set of components, lists routes and creates one.
async fn expect_accepted(
    sandbox: &Sandbox,
    foreign: Option<ThirdPartyClient>,
    algorithms: &[&str],
    ways: &[&str],
) -> Result<()> {
    let Some(foreign) = foreign else { return Ok(()) };
    let controlplane = Controlplane::start(sandbox).await?;
    let keys = keys(sandbox, &controlplane)?;
    let mut created = 0;
    for key in keys.iter().filter(|key| algorithms.contains(&key.algorithm)) {
        for covered in ways {
            let params = json!({ "subdomain": format!("app{created}"), "backends": ["[400::1]:81"] });
            let create = json!({ "jsonrpc": "2.0", "id": 1, "method": "routes.create", "params": params });
            let reply = foreign.post(&controlplane.url(), key, covered, &create)?;
            let owner = reply.pointer("/answer/result/owner").and_then(Value::as_str);
            ensure!(owner == Some(key.id), "{} over {covered}: {reply}", key.algorithm);
            created += 1;
        }
        let list = json!({ "jsonrpc": "2.0", "id": "l", "method": "routes.list" });
        let reply = foreign.post(&controlplane.url(), key, ways[0], &list)?;
        let routes = reply.pointer("/answer/result/routes").and_then(Value::as_array).map(Vec::len);
        ensure!(reply["status"] == 200 && routes.is_some_and(|count| count >= ways.len()), "{reply}");
    }
    ensure!(created == ways.len() * algorithms.len());
    Ok(())
}

async fn python_http_message_signatures(sandbox: &Sandbox) -> Result<()> {
    expect_accepted(sandbox, ThirdPartyClient::python(), &["ed25519", RSA[0], RSA[1]], COMPONENT_SETS).await
}

/// RSA-PSS is excluded: the library uses the longest salt instead of 64 bytes, contrary to RFC 9421 §3.3.1.
async fn npm_http_message_signatures(sandbox: &Sandbox) -> Result<()> {
    expect_accepted(
        sandbox,
        ThirdPartyClient::node("http-message-signatures"),
        &["ed25519", RSA[1]],
        COMPONENT_SETS,
    )
    .await
}

/// `@request-target` is excluded: the library cannot derive it from a `Request`.
async fn npm_http_message_sig(sandbox: &Sandbox) -> Result<()> {
    let ways: Vec<&str> =
        COMPONENT_SETS.iter().copied().filter(|covered| !covered.contains("@request-target")).collect();
    expect_accepted(sandbox, ThirdPartyClient::node("http-message-sig"), &["ed25519", RSA[0]], &ways).await
}

async fn an_incomplete_signature_is_refused_with_the_reason(sandbox: &Sandbox) -> Result<()> {
    let Some(foreign) = ThirdPartyClient::node("http-message-signatures") else { return Ok(()) };
    let controlplane = Controlplane::start(sandbox).await?;
    let keys = keys(sandbox, &controlplane)?;
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "routes.list" });
    for (covered, missing) in [
        ("@target-uri,content-digest", "@method"),
        ("@method,content-digest", "@target-uri"),
        ("@method,@target-uri", "content-digest"),
    ] {
        let reply = foreign.post(&controlplane.url(), &keys[0], covered, &list)?;
        let field = reply.pointer("/answer/error/data/field").and_then(Value::as_str);
        ensure!(reply["status"] == 401 && field == Some(missing), "{covered}: {reply}");
    }
    Ok(())
}

/// The OpenRPC reference library validates the document against the meta-schema and dereferences it.
async fn the_document_is_valid_openrpc(sandbox: &Sandbox) -> Result<()> {
    let (Some(_), Some(script)) =
        (installed("node_modules/@open-rpc/schema-utils-js"), installed("openrpc.mjs"))
    else {
        return Ok(());
    };
    let controlplane = Controlplane::start(sandbox).await?;
    let url = controlplane.url().replace("/rpc", "/openrpc.json");
    let output = Command::new("node").arg(script).arg(url).output().context("node does not start")?;
    let found: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    ensure!(found["valid"] == true && found["brokenIsValid"] == false, "{found}");
    ensure!(found["methods"].as_u64() >= Some(22), "{found}");
    Ok(())
}
