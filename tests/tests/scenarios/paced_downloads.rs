//! Downloads with curl at limited rates, for as long as they take.

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;
use webgateway_tests::backend::Backend;
use webgateway_tests::netns::overlay;
use webgateway_tests::process;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

use crate::setup::standalone::StandaloneSetup;
use crate::stress::env_number;

scenarios![curl_downloads_at_any_rate];

const HOST: &str = "app.gw.example";
/// More bytes than any client reads.
const LENGTH: usize = 256 << 20;
/// curl's exit code for a transfer that takes too long.
const ITS_OWN_END: i32 = 28;

/// Each client reads until its own timeout; `WEBGATEWAY_SCENARIO_READ_SECONDS=180` and a higher
/// `WEBGATEWAY_SCENARIO_LIMIT` make a longer run.
async fn curl_downloads_at_any_rate(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[backend.address()]);
    })
    .await?;
    let root = sandbox.write("root.pem", setup.authority.root())?;
    let root = root.to_str().context("a path that is text")?;
    let seconds = env_number("WEBGATEWAY_SCENARIO_READ_SECONDS", 10);
    let mut readers = JoinSet::new();
    for protocol in ["--http1.1", "--http2"] {
        for kibibytes in [32, 64, 128, 256, 512] {
            let (rate, url) = (format!("{kibibytes}k"), format!("https://{HOST}/bytes/{LENGTH}"));
            let args = [
                "-sS",
                "--cacert",
                root,
                protocol,
                "--limit-rate",
                &rate,
                "--max-time",
                &seconds.to_string(),
                "-o",
                "/dev/null",
                "-w",
                "%{http_code} %{size_download}",
                "--connect-to",
                &format!("{HOST}:443:[::1]:443"),
                &url,
            ];
            let args = args.map(str::to_owned);
            readers.spawn(async move { (args.clone(), process::run("curl", &args, &[]).await) });
        }
    }
    while let Some(ended) = readers.join_next().await {
        let (args, output) = ended?;
        let output = output?;
        let [protocol, rate] = [&args[3], &args[5]];
        println!("{protocol} {rate}: {} after {seconds} s", output.stdout);
        let is_well = output.code == Some(ITS_OWN_END) && output.stdout.starts_with("200 ");
        ensure!(is_well, "{protocol} at {rate}: {output:?}");
    }
    Ok(())
}
