//! The maximum size of request bodies, in every framing that curl has.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use webgateway_tests::backend::{Backend, RawBehaviour};
use webgateway_tests::client::rest;
use webgateway_tests::netns::overlay;
use webgateway_tests::process;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

use crate::setup::standalone::StandaloneSetup;

scenarios![a_larger_body_is_refused_in_every_framing, a_client_that_asks_first_is_refused_before_it_sends];

const HOST: &str = "app.gw.example";
const MAX: u64 = 1 << 20;

/// The framings by curl's flags, and whether they announce the length.
const FRAMINGS: &[(&str, bool)] = &[
    ("--http1.1 -H Expect: -T FILE", true),
    ("--http1.1 -H Expect:100-continue -T FILE", true),
    ("--http1.1 -H Expect: -H Transfer-Encoding:chunked -T FILE", false),
    ("--http1.1 -H Expect:100-continue -H Transfer-Encoding:chunked -T FILE", false),
    ("--http2 -T FILE", true),
    ("--http2 -T -", false),
];

async fn a_larger_body_is_refused_in_every_framing(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[backend.address()]).set_options(HOST, &json!({ "max_body": MAX }));
    })
    .await?;
    let root = sandbox.write("root.pem", setup.authority.root())?;
    for (flags, is_announced) in FRAMINGS {
        for (size, status) in [(1, 200), (MAX, 200), (MAX + 1, 413), (8 * MAX, 413)] {
            let file = sandbox.path("upload");
            std::fs::write(&file, vec![b'x'; usize::try_from(size)?])?;
            let before = backend.requests();
            let answered = upload(flags, &file, &root).await?;
            ensure!(answered == format!("0 {status}"), "{flags}, {size} bytes: {answered}");
            let was_forwarded = backend.requests() > before;
            ensure!(was_forwarded || status == 413, "{flags}, {size} bytes");
            ensure!(
                !(was_forwarded && *is_announced && status == 413),
                "{flags}: {size} bytes were forwarded"
            );
        }
    }
    Ok(())
}

/// Returns curl's exit code and the status, as text.
async fn upload(flags: &str, file: &Path, root: &Path) -> Result<String> {
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path that is text");
    let (file, root) = (text(file)?, text(root)?);
    let command = format!(
        "curl -sS --max-time 30 -o /dev/null -w '%{{http_code}}' --cacert {root} --resolve {HOST}:443:[::1] \
         -X POST {} https://{HOST}/upload < {file}",
        flags.replace("FILE", &file)
    );
    let output = process::run("sh", &["-c".to_owned(), command], &[]).await?;
    Ok(format!("{} {}{}", output.code.unwrap_or(-1), output.stdout, output.stderr))
}

async fn a_client_that_asks_first_is_refused_before_it_sends(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::raw(overlay(1, 8080), RawBehaviour::Silence).await?;
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[backend.address()]).set_options(HOST, &json!({ "max_body": 10 }));
    })
    .await?;
    let mut stream = setup.client()?.tls(HOST).await?;
    let head =
        format!("PUT / HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let response = String::from_utf8_lossy(&rest(&mut stream).await?).into_owned();
    ensure!(response.starts_with("HTTP/1.1 413") && !response.contains("100 Continue"), "{response}");
    ensure!(response.to_ascii_lowercase().contains("connection: close"), "{response}");
    ensure!(response.contains("error=http_request_error"), "{response}");
    ensure!(backend.connections() == 0);
    Ok(())
}
