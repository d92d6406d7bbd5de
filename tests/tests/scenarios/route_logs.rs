//! Following the access log of a route: lines of all nodes, bounded, and nothing kept.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use http_body_util::Full;
use nix::sys::signal::Signal;
use serde_json::Value;
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::Client;
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::gateway::Gateway;
use webgateway_tests::gwctl::User;
use webgateway_tests::netns::overlay;
use webgateway_tests::process::Process;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::setup::full::FullSetup;

scenarios![
    requests_on_two_nodes_are_followed,
    a_flood_is_bounded_and_counted,
    a_passthrough_connection_has_a_line_at_its_end,
    nothing_is_kept_and_nobody_else_follows,
    following_survives_a_restart_of_the_controlplane,
];

const SOON: Duration = Duration::from_secs(20);
const HOST: &str = "hello.gw.example";

/// A running `gwctl routes logs --follow`.
struct Follower(Process);

impl Follower {
    fn start(sandbox: &Sandbox, user: &User, host: &str, more: &[&str]) -> Result<Self> {
        let log = sandbox.path("follow.log");
        fs::write(&log, "")?;
        let args = [&["routes", "logs", host, "--follow"], more].concat();
        Ok(Self(Process::start_with("gwctl", &args, &user.env()?, &log)?))
    }

    /// Returns the lines so far, in JSON.
    fn lines(&self) -> Result<Vec<Value>> {
        let text = self.0.log()?;
        text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// Makes requests for `/probe` until one of them has a line from this node: from then on, all have.
    async fn wait_until_followed(&mut self, client: &Client, node: &str) -> Result<()> {
        eventually(&format!("{node} sends lines"), SOON, async || {
            self.0.ensure_running()?;
            client.get(HOST, "/probe").await?;
            let lines = self.lines()?;
            ensure!(lines.iter().any(|line| line["node"] == node), "{lines:?}");
            Ok(())
        })
        .await
    }

    /// Waits for a line of this path.
    async fn line_of(&mut self, path: &str) -> Result<Value> {
        eventually(&format!("{path} has a line"), SOON, async || {
            self.0.ensure_running()?;
            let lines = self.lines()?;
            lines.iter().find(|line| line["path"] == path).cloned().with_context(|| format!("{lines:?}"))
        })
        .await
    }

    /// Interrupts it with Ctrl-C; it ends without an error.
    async fn interrupt(mut self) -> Result<()> {
        self.0.signal(Signal::SIGINT)?;
        let status = self.0.end(SOON).await?;
        ensure!(status.code() == Some(0), "{status}: {}", self.0.log()?);
        Ok(())
    }
}

async fn requests_on_two_nodes_are_followed(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start_as(sandbox, 1).await?;
    let second = Gateway::start(sandbox, &setup.controlplane.gateway_config().await?.number(2)).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    setup.alice.create_route("-s other -b [400::1]:8080 --wait").await?;
    let (one, two) = (setup.client()?, second.client()?);
    let mut follower = Follower::start(sandbox, &setup.alice, HOST, &["-o", "json"])?;
    follower.wait_until_followed(&one, "node1").await?;
    follower.wait_until_followed(&two, "node2").await?;

    one.get("other.gw.example", "/elsewhere").await?.expect(200)?;
    one.get(HOST, "/bytes/1000?token=secret").await?.expect(200)?;
    let line = follower.line_of("/bytes/1000").await?;
    ensure!(line["node"] == "node1" && line["client"] == "127.0.0.1" && line["method"] == "GET", "{line}");
    ensure!(line["status"] == 200 && line["sent_bytes"] == 1000 && line["received_bytes"] == 0, "{line}");
    ensure!(line["duration"].as_f64().is_some_and(|took| took > 0.0) && line["error"].is_null(), "{line}");

    let mut connection = two.clone().h2().connect(HOST).await?;
    let post = connection.request(Method::POST, HOST, "/slow/300").header("x-request-id", "abc-1");
    connection.send(post.body(Full::new("0123456789".into()))?).await?.expect(200)?;
    let line = follower.line_of("/slow/300").await?;
    ensure!(line["node"] == "node2" && line["method"] == "POST" && line["request_id"] == "abc-1", "{line}");
    ensure!(line["received_bytes"] == 10 && line["sent_bytes"] == 4, "{line}");
    ensure!(line["duration"].as_f64().is_some_and(|took| took >= 0.3), "the backend waits: {line}");
    let text = follower.0.log()?;
    ensure!(!text.contains("secret") && !text.contains("/elsewhere"), "{text}");
    follower.interrupt().await
}

async fn a_flood_is_bounded_and_counted(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start_as(sandbox, 1).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080 --wait").await?;
    let client = setup.client()?;
    let mut follower = Follower::start(sandbox, &setup.alice, HOST, &["-o", "json"])?;
    follower.wait_until_followed(&client, "node1").await?;
    let before = eventually("every probe has a line", SOON, async || {
        let lines = follower.lines()?.len() as u64;
        ensure!(lines == _backend.requests(), "{lines} lines");
        Ok(lines)
    })
    .await;
    // Probes before the first line were not followed.
    let before = before.unwrap_or_else(|_| follower.lines().map_or(0, |lines| lines.len() as u64));
    const FLOOD: u64 = 2000;
    let begun = std::time::Instant::now();
    let mut connection = client.h2().connect(HOST).await?;
    for _ in 0..FLOOD / 50 {
        let requests =
            (0..50).map(|_| Ok(connection.request(Method::GET, HOST, "/bytes/1").body(Full::default())?));
        let requests = requests.collect::<Result<Vec<_>>>()?;
        connection.send_concurrently(requests).await?;
    }
    let seconds = begun.elapsed().as_secs() + 2;
    let count = |lines: &[Value]| {
        let left_out: u64 = lines.iter().filter_map(|line| line["left_out"].as_u64()).sum();
        let shown = lines.iter().filter(|line| line["left_out"].is_null()).count() as u64;
        (shown - before, left_out)
    };
    let (shown, left_out) = eventually("each request has a line or is counted", SOON, async || {
        let (shown, left_out) = count(&follower.lines()?);
        ensure!(shown + left_out == FLOOD, "{shown} shown, {left_out} left out");
        Ok((shown, left_out))
    })
    .await?;
    ensure!(shown > 0 && shown <= 50 * seconds, "{shown} in {seconds} s");
    ensure!(left_out > 0 || FLOOD <= 50 * seconds, "{left_out}");
    follower.interrupt().await
}

async fn a_passthrough_connection_has_a_line_at_its_end(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start_as(sandbox, 1).await?;
    let authority = Authority::new()?;
    let tls = authority.issue(&["pass.example.org"])?.server(&["http/1.1"])?;
    let _backend = Backend::https(overlay(1, 8443), tls).await?;
    setup.alice.create_route("-f pass.example.org -t -b [400::1]:8443 --wait").await?;
    let client = Client::new(setup.gateway.https(), authority.root())?;
    let mut follower = Follower::start(sandbox, &setup.alice, "pass.example.org", &["-o", "json"])?;
    let line = eventually("a connection has a line", SOON, async || {
        follower.0.ensure_running()?;
        client.get("pass.example.org", "/bytes/50000").await?.expect(200)?;
        follower.lines()?.into_iter().next().context("no line")
    })
    .await?;
    ensure!(line["client"] == "127.0.0.1" && line["node"] == "node1", "{line}");
    ensure!(line["method"].is_null() && line["path"].is_null() && line["status"].is_null(), "{line}");
    ensure!(line["sent_bytes"].as_u64().is_some_and(|sent| sent > 50_000), "{line}");
    ensure!(line["received_bytes"].as_u64().is_some_and(|received| received > 200), "{line}");
    follower.interrupt().await?;

    let mut table = Follower::start(sandbox, &setup.alice, "pass.example.org", &[])?;
    eventually("the table has a line", SOON, async || {
        table.0.ensure_running()?;
        client.get("pass.example.org", "/").await?;
        let text = table.0.log()?;
        ensure!(text.contains("following pass.example.org on 1 node; nothing is kept"), "{text}");
        ensure!(text.contains(" node1 127.0.0.1 connection - in "), "{text}");
        Ok(())
    })
    .await?;
    table.interrupt().await
}

async fn nothing_is_kept_and_nobody_else_follows(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start_as(sandbox, 1).await?;
    let bob = User::create(&setup.controlplane, sandbox.dir(), "bob").await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080 --wait").await?;
    setup.client()?.get(HOST, "/before").await?.expect(200)?;
    let refused = setup.alice.gwctl(["routes", "logs", HOST]).await?;
    ensure!(refused.code == Some(2), "{refused:?}");
    for word in ["keeps no access log", "--follow", "gwctl routes stats HOST"] {
        ensure!(refused.stderr.contains(word), "{word}: {refused:?}");
    }
    for host in [HOST, "nothing.gw.example"] {
        let refused = bob.gwctl(["routes", "logs", host, "--follow"]).await?;
        ensure!(
            refused.code == Some(6) && refused.stderr.contains("there is no route of yours"),
            "{refused:?}"
        );
    }
    let mut follower = Follower::start(sandbox, &setup.admin, HOST, &["-o", "json"])?;
    follower.wait_until_followed(&setup.client()?, "node1").await?;
    ensure!(!follower.0.log()?.contains("/before"), "nothing was kept");
    setup.admin.json(["admin", "suspend", "alice.pub"]).await?;
    setup.wait_for_status(HOST, 503).await?;
    let id = setup.admin.json(["routes", "list"]).await?["routes"][0]["id"].clone();
    setup.admin.json(["routes", "delete", "-r", id.as_str().context("no id")?]).await?;
    let status = follower.0.end(Duration::from_secs(40)).await?;
    ensure!(status.code() == Some(6), "the route is gone: {status} {}", follower.0.log()?);
    Ok(())
}

async fn following_survives_a_restart_of_the_controlplane(sandbox: &Sandbox) -> Result<()> {
    let mut setup = FullSetup::start_as(sandbox, 1).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080 --wait").await?;
    let client = setup.client()?;
    let mut follower = Follower::start(sandbox, &setup.alice, HOST, &[])?;
    let has_line = async |follower: &mut Follower, path: &str| {
        eventually(&format!("{path} has a line"), SOON, async || {
            follower.0.ensure_running()?;
            client.get(HOST, path).await?;
            let text = follower.0.log()?;
            ensure!(text.contains(path), "{text}");
            Ok(())
        })
        .await
    };
    has_line(&mut follower, "/first").await?;
    setup.controlplane.process().kill()?;
    eventually("the outage is reported", SOON, async || {
        let text = follower.0.log()?;
        ensure!(text.contains("retrying"), "{text}");
        Ok(())
    })
    .await?;
    setup.controlplane = Controlplane::start(sandbox).await?;
    has_line(&mut follower, "/second").await?;
    let text = follower.0.log()?;
    ensure!(text.contains("retrying") && text.contains("responds again"), "{text}");
    follower.interrupt().await
}
