//! Uploads with curl that get an early response: it arrives on every listener.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use webgateway_tests::backend::{Backend, RawBehaviour};
use webgateway_tests::netns::overlay;
use webgateway_tests::process;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

use crate::setup::full::FullSetup;
use crate::stress::env_number;

scenarios![curl_gets_every_early_response];

const UPLOAD: u64 = 20 << 20;
const BODY: usize = 20_000;

fn refusal(status: &str) -> Vec<u8> {
    // The backend goes on reading without another response.
    let mut response =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {BODY}\r\n\r\n").into_bytes();
    response.resize(response.len() + BODY, b'x');
    response
}

async fn curl_gets_every_early_response(sandbox: &Sandbox) -> Result<()> {
    // Two backends go on reading, one closes its side at once.
    let _backends = [
        Backend::raw(overlay(1, 8080), RawBehaviour::RespondAndRead(refusal("413 Content Too Large")))
            .await?,
        Backend::raw(overlay(2, 8080), RawBehaviour::RespondAndRead(refusal("403 Forbidden"))).await?,
        Backend::raw(overlay(3, 8080), RawBehaviour::Respond(refusal("404 Not Found"))).await?,
    ];
    let setup = FullSetup::start(sandbox).await?;
    for (n, host) in ["large", "forbidden", "absent"].into_iter().enumerate() {
        setup.alice.create_route(&format!("-s {host} -b [400::{}]:8080", n + 1)).await?;
    }
    for (host, status) in [("large", 413), ("forbidden", 403), ("absent", 404)] {
        setup.wait_for_status(&format!("{host}.gw.example"), status).await?;
    }
    let file = sandbox.path("upload");
    std::fs::File::create(&file)?.set_len(UPLOAD)?;
    let root = sandbox.write("root.pem", &setup.controlplane.root().await?)?;
    let rounds = env_number("WEBGATEWAY_SCENARIO_UPLOADS", 3);
    for (url, status, length) in [
        ("https://large.gw.example/", "413", Some(BODY)),
        ("https://forbidden.gw.example/", "403", Some(BODY)),
        ("https://absent.gw.example/", "404", Some(BODY)),
        ("https://nobody.gw.example/", "503", None),
        ("https://gw.example/rpc", "413", None),
        ("http://large.gw.example/", "308", None),
        ("http://nobody.example.org/", "503", None),
        ("http://127.0.0.1:8080/rpc", "413", None),
    ] {
        let protocols = if url.starts_with("https") { &["--http1.1", "--http2"][..] } else { &["--http1.1"] };
        for protocol in protocols {
            let mut failed = Vec::new();
            for _ in 0..rounds {
                let answered = upload(protocol, url, &file, &root).await?;
                let is_whole = length.is_none_or(|length| answered.ends_with(&format!(" {length}")));
                if !answered.starts_with(&format!("0 {status} ")) || !is_whole {
                    failed.push(answered);
                }
            }
            ensure!(failed.is_empty(), "{protocol} {url}: {} of {rounds}: {failed:?}", failed.len());
        }
    }
    Ok(())
}

/// Returns curl's exit code, the status, and the size of the response in bytes, as text.
async fn upload(protocol: &str, url: &str, file: &Path, root: &Path) -> Result<String> {
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path that is text");
    let host = url.split(['/', ':']).nth(3).context("a host")?.to_owned();
    let args = [
        "-sS",
        "--max-time",
        "30",
        protocol,
        "-H",
        "Expect:",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %{size_download}",
        "--cacert",
        &text(root)?,
        "--connect-to",
        &format!("{host}:443:[::1]:443"),
        "--connect-to",
        &format!("{host}:80:[::1]:80"),
        "-X",
        "POST",
        "-T",
        &text(file)?,
        url,
    ];
    let output = process::run("curl", &args.map(str::to_owned), &[]).await?;
    Ok(format!("{} {}{}", output.code.unwrap_or(-1), output.stdout, output.stderr))
}
