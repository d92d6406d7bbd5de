//! `make dev`: the demo succeeds, and every command that it prints works as printed.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use webgateway_tests::document::Document;
use webgateway_tests::process::{self, Process};
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

scenarios![the_commands_of_make_dev_work, the_commands_of_make_dev_work_with_a_ca];

/// The timeout of the whole demo, including certificates.
const DEMO_TIMEOUT: Duration = Duration::from_secs(60);

/// The timeout of a request.
const ANSWER: Duration = Duration::from_secs(10);

/// The replacement of `cargo run` of the example, which `cargo test` has built, but a run of the scenarios alone may
/// not have.
const EXAMPLE: &str = "example=target/debug/examples/create_route; ! test -x $example || $example";

/// A unique part of each command, and the expected output. Commands that the demo itself runs are not run again.
const COMMANDS: &[(&str, Expected)] = &[
    ("gwctl keys generate target/dev/alice", Expected::Done),
    ("gwctl keys generate target/dev-acme/alice", Expected::Done),
    ("cp ", Expected::Output("")),
    ("routes create -s hello", Expected::Done),
    ("routes create -f pass.gw.localhost", Expected::Done),
    ("webgateway-controlplane --config", Expected::Server),
    ("webgateway-dataplane --config", Expected::Server),
    ("https://hello.gw.localhost:8443/greeting", Expected::Output("\"target\":\"/greeting\"")),
    ("https://pass.gw.localhost:8443/greeting", Expected::Output("\"target\":\"/greeting\"")),
    ("routes list", Expected::Output("hello.gw.localhost")),
    ("routes create -s second", Expected::Output("second.gw.localhost")),
    ("routes get second", Expected::Output("second.gw.localhost")),
    ("https://second.gw.localhost:8443/", Expected::Output("\"target\":\"/\"")),
    ("http://127.0.0.1:8081/", Expected::Output("location: https://hello.gw.localhost")),
    ("/openrpc.json", Expected::Output("\"openrpc\"")),
    ("dig ", Expected::Output("SOA")),
    ("http://127.0.0.1:9180/metrics", Expected::Output("webgateway_feed_version")),
    ("gwctl keys generate target/dev/admin", Expected::Output("admin.pub")),
    ("gwctl keys generate target/dev-acme/admin", Expected::Output("admin.pub")),
    ("admin suspend", Expected::Output("")),
    ("admin unsuspend", Expected::Output("")),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Expected {
    /// The command succeeds and prints this text.
    Output(&'static str),
    /// The demo has run the command.
    Done,
    /// The command runs until it is stopped; the scenario runs it after the demo.
    Server,
}

async fn the_commands_of_make_dev_work(sandbox: &Sandbox) -> Result<()> {
    let mut servers = Vec::new();
    prepare(sandbox)?;
    // A second run finds what the first one and its commands have created.
    for is_first in [true, false] {
        servers = take(sandbox, &[], is_first).await?;
    }
    serve(sandbox, &servers).await
}

async fn the_commands_of_make_dev_work_with_a_ca(sandbox: &Sandbox) -> Result<()> {
    prepare(sandbox)?;
    let servers = take(sandbox, &["--acme"], false).await?;
    serve(sandbox, &servers).await
}

/// Makes the built programs available in the sandbox as in the project.
fn prepare(sandbox: &Sandbox) -> Result<()> {
    let built = process::find("webgateway-dev")?;
    fs::create_dir(sandbox.path("target"))?;
    Ok(symlink(built.parent().context("a folder")?, sandbox.path("target/debug"))?)
}

/// Runs the demo and its commands, and the documents' if asked to. Returns the commands of the servers.
async fn take(sandbox: &Sandbox, flags: &[&str], with_documents: bool) -> Result<Vec<String>> {
    let script =
        format!("cd '{}' && exec target/debug/webgateway-dev {}", sandbox.dir().display(), flags.join(" "));
    let log = sandbox.path(if with_documents { "first_demo.log" } else { "demo.log" });
    let mut demo = Process::start("sh", &["-c", &script], &log)?;
    let printed = eventually("the demo is over", DEMO_TIMEOUT, async || {
        demo.ensure_running()?;
        let printed = demo.log()?;
        ensure!(printed.contains("Ctrl-C ends it."), "{printed}");
        Ok(printed)
    })
    .await?;
    let (mut exports, mut servers) = (String::new(), Vec::new());
    for command in commands(&printed) {
        if command.starts_with("export ") {
            exports = format!("{command}\n");
            continue;
        }
        match expected(command)? {
            Expected::Done => {}
            Expected::Server => servers.push(command.to_owned()),
            Expected::Output(_) if command.starts_with("dig ") && process::installed("dig").is_none() => {}
            Expected::Output(wanted) => {
                // A route is served a moment after its creation, so that reads are retried; mutations are run once.
                let within = if command.starts_with("curl ") { ANSWER } else { Duration::ZERO };
                eventually("the command prints the expected output", within, async || {
                    let said = run(sandbox, &format!("{exports}{command}")).await?;
                    ensure!(said.contains(wanted), "$ {command}\n{said}");
                    Ok(())
                })
                .await?;
            }
        }
    }
    ensure!(servers.len() == 2 && !exports.is_empty(), "{printed}");
    if with_documents {
        run_document_commands(sandbox).await?;
    }
    demo.signal(Signal::SIGTERM)?;
    ensure!(demo.end(DEMO_TIMEOUT).await?.success(), "{}", demo.log()?);
    Ok(servers)
}

/// Runs the documents' commands for `make dev` as written.
async fn run_document_commands(sandbox: &Sandbox) -> Result<()> {
    sandbox.write(
        ".curlrc",
        "silent\nfail\nretry = 30\nretry-delay = 1\nretry-max-time = 30\nretry-all-errors\n",
    )?;
    let mut run_blocks = 0;
    for document in Document::all()? {
        for block in document.blocks()?.iter().filter(|block| block.tag == "dev") {
            let script = block.text.replace("cargo run -p gwctl --example create_route --", EXAMPLE);
            let script = format!("export CURL_HOME=.\n{script}");
            run(sandbox, &script).await.with_context(|| format!("{}:{}", document.path, block.line))?;
            run_blocks += 1;
        }
    }
    ensure!(run_blocks > 0, "no document has commands for `make dev`");
    Ok(())
}

/// Runs the two servers concurrently, with the printed commands.
async fn serve(sandbox: &Sandbox, servers: &[String]) -> Result<()> {
    let mut running = Vec::new();
    for server in servers {
        let script = format!("cd '{}' && exec {server}", sandbox.dir().display());
        running.push(Process::start("sh", &["-c", &script], &sandbox.path("server.log"))?);
    }
    eventually("both processes are ready", DEMO_TIMEOUT, async || {
        running.iter_mut().try_for_each(Process::ensure_running)?;
        run(sandbox, "curl -sSf http://127.0.0.1:9180/readyz http://127.0.0.1:9181/readyz").await
    })
    .await?;
    Ok(())
}

/// Returns the printed commands in order: those after a `$`, and the suggested ones.
fn commands(printed: &str) -> impl Iterator<Item = &str> {
    let (shown, next) = printed.split_once("To try next").unwrap_or((printed, ""));
    let shown = shown.lines().filter_map(|line| line.strip_prefix("   $ "));
    shown.chain(next.lines().filter_map(|line| line.strip_prefix("   ")))
}

fn expected(command: &str) -> Result<Expected> {
    let mut known = COMMANDS.iter().filter(|(part, _)| command.contains(part));
    known
        .next()
        .map(|(_, expected)| *expected)
        .with_context(|| format!("not known to this scenario: {command}"))
}

/// Runs a shell command in the folder of `make dev` and returns its output.
async fn run(sandbox: &Sandbox, command: &str) -> Result<String> {
    let script = format!("cd '{}'\n{command}", sandbox.dir().display());
    let output = process::run("bash", &["-euo", "pipefail", "-c", &script].map(str::to_owned), &[]).await?;
    if output.code != Some(0) {
        bail!("$ {command}\n{}{}", output.stderr, output.stdout);
    }
    Ok(output.stdout)
}
