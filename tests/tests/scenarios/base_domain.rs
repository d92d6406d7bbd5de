//! Requests to the base domain: the API and the landing page, forwarded over the feed.

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use webgateway_tests::client::Connection;
use webgateway_tests::process;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::signer::{SignatureParams, Signer, call, send};

use crate::setup::full::FullSetup;
use crate::setup::standalone::StandaloneSetup;

scenarios![
    the_landing_page_is_served,
    the_api_is_reachable_by_clients,
    gwctl_explains_a_refused_server_name,
    a_request_signed_for_another_gateway_is_refused,
    oversized_requests_are_refused,
    endless_bodies_do_not_block_other_clients,
    without_a_controlplane_the_api_is_unavailable,
];

const BASE: &str = "gw.example";
const URL: &str = "https://gw.example/rpc";

async fn the_landing_page_is_served(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let page = client.get(BASE, "/").await?.expect(200)?;
        ensure!(page.text().contains("webgateway"), "{page:?}");
        client.get(BASE, "/nowhere").await?.expect(404)?;
    }
    Ok(())
}

async fn the_api_is_reachable_by_clients(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let signer = Signer::for_user(&setup.alice)?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let document = client.get(BASE, "/openrpc.json").await?.expect(200)?.json()?;
        ensure!(document["openrpc"].is_string(), "{document}");
        let mut api = client.connect(BASE).await?;
        let listed = signer.call(&mut api, URL, "routes.list", json!({})).await?.expect(200)?.json()?;
        ensure!(listed["result"]["routes"] == json!([]), "{listed}");
        let unsigned = Request::post(URL).header("content-type", "application/json");
        let body = call("routes.list", json!({})).to_string();
        let refused = send(&mut api, unsigned.body(Bytes::from(body))?).await?.expect(401)?;
        ensure!(!refused.header("accept-signature").is_empty(), "{refused:?}");
    }
    Ok(())
}

async fn gwctl_explains_a_refused_server_name(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    // gwctl resolves `localhost` to the gateway, which has no certificate for that name.
    let root = sandbox.write("root.pem", &setup.controlplane.root().await?)?.display().to_string();
    for url in ["https://localhost/rpc", "http://localhost/rpc"] {
        let args = ["-u", url, "health"].map(str::to_owned);
        let refused = process::run("gwctl", &args, &[("SSL_CERT_FILE", &root)]).await?;
        ensure!(refused.code == Some(3) && refused.stderr.contains("hint"), "{url}: {refused:?}");
    }
    Ok(())
}

async fn a_request_signed_for_another_gateway_is_refused(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let signer = Signer::for_user(&setup.alice)?;
    let body = call("routes.list", json!({})).to_string();
    // A request that was signed for another gateway and captured.
    let foreign = signer.post("https://other.example/rpc", &body, &SignatureParams::fresh())?;
    let (head, body) = foreign.into_parts();
    let mut api = setup.client()?.connect(BASE).await?;
    let mut replayed = api.request(Method::POST, BASE, "/rpc").body(Full::from(body))?;
    replayed.headers_mut().extend(head.headers);
    api.send(replayed).await?.expect(401)?;
    Ok(())
}

async fn oversized_requests_are_refused(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let large = Full::from(vec![b' '; (1 << 20) + 1]);
    let mut api = setup.client()?.h2().connect(BASE).await?;
    let post = api.request(Method::POST, BASE, "/rpc").body(large)?;
    api.send(post).await?.expect(413)?;
    Connection::plain(setup.gateway.http()).await?.get(BASE, "/rpc").await?.expect(308)?;
    Ok(())
}

/// Sends unsigned bodies of 70 MiB in total, each without its last byte.
async fn endless_bodies_do_not_block_other_clients(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let head = "POST /rpc HTTP/1.1\r\nhost: gw.example\r\ncontent-type: application/json\r\n";
    let announced = 1 << 20;
    let bytes = [format!("{head}content-length: {announced}\r\n\r\n").as_bytes(), &vec![b' '; announced - 1]]
        .concat();
    let mut flood = Vec::new();
    for _ in 0..70 {
        let mut stream = setup.client()?.tls(BASE).await?;
        // The gateway closes some of them to admit other clients.
        let _ = stream.write_all(&bytes).await;
        flood.push(stream);
    }
    let mut api = setup.client()?.connect(BASE).await?;
    let version = Request::post(URL).header("content-type", "application/json");
    let body = Bytes::from(call("version", json!({})).to_string());
    send(&mut api, version.body(body)?).await?.expect(200)?;
    let signer = Signer::for_user(&setup.alice)?;
    signer.call(&mut api, URL, "routes.list", json!({})).await?.expect(200)?;
    Ok(())
}

async fn without_a_controlplane_the_api_is_unavailable(sandbox: &Sandbox) -> Result<()> {
    let setup = StandaloneSetup::start(sandbox, |_| {}).await?;
    let reply = setup.client()?.get(BASE, "/openrpc.json").await?;
    ensure!(reply.status == 503, "{reply:?}");
    Ok(())
}
