//! `gwctl routes list --watch` and waiting calls: changes are reported at once, also over restarts.

use std::fs;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;
use webgateway_proto::api::LONGEST_WAIT;
use webgateway_tests::client::{Client, Connection};
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::gwctl::User;
use webgateway_tests::process::{Process, find};
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::signer::Signer;
use webgateway_tests::wait::eventually;

use crate::setup::full::FullSetup;

scenarios![
    every_change_is_printed,
    a_watch_survives_a_restart,
    a_wait_ends_when_the_controlplane_stops,
    a_closed_client_frees_its_wait,
    the_longest_wait_gets_a_response_through_a_node,
    a_closed_output_ends_the_watch,
    a_permanent_error_ends_the_watch,
];

const TIMEOUT: Duration = Duration::from_secs(15);

/// A running `gwctl` with `--watch`, and its output.
struct Watch(Process);

impl Watch {
    fn start(sandbox: &Sandbox, user: &User, flags: &[&str]) -> Result<Self> {
        let args = [&["routes", "list", "--watch"], flags].concat();
        let log = sandbox.path("watch.log");
        fs::write(&log, "")?;
        Ok(Self(Process::start_with("gwctl", &args, &user.env()?, &log)?))
    }

    /// Waits until a line contains all these words.
    async fn wait_for_line(&mut self, words: &[&str]) -> Result<()> {
        eventually(&format!("a line has {words:?}"), TIMEOUT, async || {
            self.0.ensure_running()?;
            let told = self.0.log()?;
            let is_said = told.lines().any(|line| words.iter().all(|word| line.contains(word)));
            ensure!(is_said, "{told}");
            Ok(())
        })
        .await
    }
}

async fn every_change_is_printed(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let (alice, admin) = (&setup.alice, &setup.admin);
    alice.create_route("-s first -b [400::1]:81").await?;
    let mut json = Watch::start(sandbox, alice, &["-o", "json"])?;
    json.wait_for_line(&[r#""event":"listed""#, "first.gw.example"]).await?;
    let id = alice.create_route("-s second -b [400::1]:81").await?;
    json.wait_for_line(&[r#""event":"created""#, "second.gw.example"]).await?;
    alice.json(["routes", "update", "-r", &id, "-b", "[400::9]:81"]).await?;
    json.wait_for_line(&[r#""event":"changed""#, "[400::9]:81"]).await?;
    admin.json(["admin", "suspend", "alice.pub"]).await?;
    json.wait_for_line(&[r#""event":"changed""#, "first.gw.example", r#""state":"suspended""#]).await?;
    admin.json(["admin", "unsuspend", "alice.pub"]).await?;
    eventually("the route is active again", TIMEOUT, async || {
        let told = json.0.log()?;
        let last = told.lines().rfind(|line| line.contains("first.gw.example")).context("nothing")?;
        ensure!(last.contains(r#""event":"changed""#) && last.contains(r#""state":"active""#), "{told}");
        Ok(())
    })
    .await?;
    alice.json(["routes", "delete", "-r", &id]).await?;
    json.wait_for_line(&[r#""event":"deleted""#, &id]).await?;
    let told = json.0.log()?;
    let events: Vec<Value> = told.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(events.iter().all(|event| event["route"]["id"].is_string()), "{told}");
    // SIGTERM, as tests that run in the background inherit an ignored SIGINT.
    json.0.signal(Signal::SIGTERM)?;
    json.0.end(TIMEOUT).await?;
    ensure!(json.0.log()? == told, "it ends without a word");

    let mut table = Watch::start(sandbox, admin, &[])?;
    table.wait_for_line(&["   HOST  ", "BACKENDS", "STATE"]).await?;
    let id = alice.create_route("-f own.example.org -b [400::1]:81").await?;
    table.wait_for_line(&["+  ", "own.example.org", "alice.pub"]).await?;
    table.wait_for_line(&["own.example.org", "active"]).await?;
    alice.json(["routes", "delete", "-r", &id]).await?;
    table.wait_for_line(&["-  ", "own.example.org"]).await
}

async fn a_watch_survives_a_restart(sandbox: &Sandbox) -> Result<()> {
    let mut controlplane = Controlplane::start(sandbox).await?;
    let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
    alice.create_route("-s kept -b [400::1]:81").await?;
    let mut watch = Watch::start(sandbox, &alice, &[])?;
    watch.wait_for_line(&["kept.gw.example"]).await?;
    controlplane.process().kill()?;
    watch.wait_for_line(&["warning:", "retrying"]).await?;
    let mut controlplane = Controlplane::start(sandbox).await?;
    watch.wait_for_line(&["warning:", "responds again"]).await?;
    alice.create_route("-s new -b [400::1]:81").await?;
    watch.wait_for_line(&["+  ", "new.gw.example"]).await?;
    let told = watch.0.log()?;
    let times = |word: &str| told.matches(word).count();
    ensure!(times("warning:") == 2 && times("kept.gw.example") == 1, "once each: {told}");
    // A graceful stop of the controlplane ends the wait, too.
    controlplane.process().signal(Signal::SIGTERM)?;
    controlplane.process().end(TIMEOUT).await?;
    let _controlplane = Controlplane::start(sandbox).await?;
    alice.create_route("-s newer -b [400::1]:81").await?;
    watch.wait_for_line(&["+  ", "newer.gw.example"]).await
}

/// A way to reach the API.
enum ApiAccess {
    Rpc(SocketAddr),
    Node(Client),
}

impl ApiAccess {
    /// Makes a waiting call over a connection of its own.
    async fn wait(self: Rc<Self>, signer: Rc<Signer>) -> Result<Value> {
        let params = json!({ "newer_than": u64::MAX, "wait": LONGEST_WAIT });
        self.call(signer, "routes.list", params).await
    }

    async fn call(self: Rc<Self>, signer: Rc<Signer>, method: &str, params: Value) -> Result<Value> {
        let (mut api, url) = match &*self {
            Self::Rpc(address) => (Connection::plain(*address).await?, format!("http://{address}/rpc")),
            Self::Node(client) => (client.connect("gw.example").await?, "https://gw.example/rpc".to_owned()),
        };
        signer.call(&mut api, &url, method, params).await?.expect(200)?.json()
    }

    /// Returns the response to a waiting call if it comes within half a second.
    async fn response_at_once(self: &Rc<Self>, signer: &Rc<Signer>) -> Result<Option<Value>> {
        let wait = Rc::clone(self).wait(Rc::clone(signer));
        timeout(Duration::from_millis(500), wait).await.ok().transpose()
    }
}

async fn a_wait_ends_when_the_controlplane_stops(sandbox: &Sandbox) -> Result<()> {
    let mut setup = FullSetup::start(sandbox).await?;
    let (access, signer) =
        (Rc::new(ApiAccess::Rpc(setup.controlplane.rpc()?)), Rc::new(Signer::for_user(&setup.alice)?));
    let for_routes = Rc::clone(&access).wait(Rc::clone(&signer));
    let for_nodes =
        access.call(signer, "nodes.wait", json!({ "version": u64::MAX, "timeout": LONGEST_WAIT }));
    let mut waits = Box::pin(async { tokio::try_join!(for_routes, for_nodes) });
    let early = timeout(Duration::from_secs(1), &mut waits).await;
    ensure!(early.is_err(), "they wait: {early:?}");
    setup.controlplane.process().signal(Signal::SIGTERM)?;
    let responses = timeout(Duration::from_secs(5), waits).await.context("they still wait")??;
    let (routes, nodes) = &responses;
    ensure!(routes["result"]["version"].is_u64() && nodes["result"]["acked"] == 0, "{responses:?}");
    let status = setup.controlplane.process().end(Duration::from_secs(5)).await?;
    ensure!(status.code() == Some(0), "{status}");
    Ok(())
}

async fn a_closed_client_frees_its_wait(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let signer = Rc::new(Signer::for_user(&setup.alice)?);
    for access in [ApiAccess::Rpc(setup.controlplane.rpc()?), ApiAccess::Node(setup.client()?)] {
        let (access, mut waits) = (Rc::new(access), JoinSet::new());
        for _ in 0..17 {
            waits.spawn_local(Rc::clone(&access).wait(Rc::clone(&signer)));
        }
        // 16 calls may wait: the last one is refused.
        let response = timeout(TIMEOUT, waits.join_next()).await?.context("nobody waits")???;
        let data = &response["error"]["data"];
        ensure!(data["kind"] == "rate_limited" && data["retry_after"].is_u64(), "{response}");
        ensure!(access.response_at_once(&signer).await?.is_some(), "there is no room");
        waits.shutdown().await;
        eventually("another wait is accepted", Duration::from_secs(5), async || {
            let response = access.response_at_once(&signer).await?;
            ensure!(response.is_none(), "{response:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn the_longest_wait_gets_a_response_through_a_node(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let access = Rc::new(ApiAccess::Node(setup.client()?));
    let response = access.wait(Rc::new(Signer::for_user(&setup.alice)?)).await?;
    ensure!(response["result"]["version"].is_u64(), "{response}");
    Ok(())
}

async fn a_closed_output_ends_the_watch(sandbox: &Sandbox) -> Result<()> {
    let controlplane = Controlplane::start(sandbox).await?;
    let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
    let gwctl = find("gwctl")?.display().to_string();
    let line = format!("set -o pipefail; {gwctl} routes list -w | head -1");
    let mut piped = Process::start_with("bash", &["-c", &line], &alice.env()?, &sandbox.path("watch.log"))?;
    let status = piped.end(Duration::from_secs(10)).await?;
    let told = piped.log()?;
    ensure!(status.code() == Some(0) && told.lines().count() == 1, "{status}: {told}");
    ensure!(told.starts_with("   HOST "), "{told}");
    Ok(())
}

async fn a_permanent_error_ends_the_watch(sandbox: &Sandbox) -> Result<()> {
    let controlplane = Controlplane::start(sandbox).await?;
    let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
    let bob = User::create(&controlplane, sandbox.dir(), "bob").await?;
    let mut watch = Watch::start(sandbox, &alice, &[])?;
    watch.wait_for_line(&["   HOST "]).await?;
    fs::remove_file(controlplane.keys().join("alice.pub"))?;
    bob.create_route("-s news -b [400::1]:81").await?;
    let status = watch.0.end(TIMEOUT).await?;
    let told = watch.0.log()?;
    ensure!(status.code() == Some(4) && told.contains("error:"), "{status}: {told}");
    Ok(())
}
