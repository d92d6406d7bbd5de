//! Restarts and upgrades with systemd socket activation: no request is lost.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use http_body_util::{BodyExt as _, Full};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde_json::json;
use uuid::Uuid;
use webgateway_proto::feed::wire;
use webgateway_proto::feed::wire::begin::Kind;
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::{Client, Connection};
use webgateway_tests::controlplane::{Controlplane, ControlplaneConfig};
use webgateway_tests::feed_file::FeedFile;
use webgateway_tests::feed_server::{FeedServer, base_resources, begin, end, route};
use webgateway_tests::gateway::{Gateway, GatewayConfig};
use webgateway_tests::gwctl::User;
use webgateway_tests::load::Load;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::signer::Signer;
use webgateway_tests::systemd::Systemd;
use webgateway_tests::wait::eventually;

scenarios![
    a_restarted_dataplane_loses_no_request,
    a_restart_with_a_socket_for_each_worker_loses_no_request,
    a_restarted_controlplane_loses_no_request,
    a_stuck_worker_stops_the_watchdog,
    an_unknown_socket_is_refused_by_name,
    a_draining_node_closes_its_connections,
];

const HOST: &str = "app.gw.example";
const TIMEOUT: Duration = Duration::from_secs(10);

async fn a_restarted_dataplane_loses_no_request(sandbox: &Sandbox) -> Result<()> {
    let service = Systemd::new(sandbox, "dataplane")?.tcp("https", "[::]:443")?.tcp("http", "[::]:80")?;
    restarts(sandbox, service, 2).await
}

async fn a_restart_with_a_socket_for_each_worker_loses_no_request(sandbox: &Sandbox) -> Result<()> {
    let service = Systemd::new(sandbox, "dataplane")?.tcp("https", "[::]:443")?.tcp("https", "[::]:443")?;
    restarts(sandbox, service.tcp("http", "[::]:80")?, 2).await
}

async fn restarts(sandbox: &Sandbox, service: Systemd, workers: u16) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let authority = Authority::new()?;
    let mut file =
        FeedFile::new(&sandbox.path("feed.json"), &authority.issue(&["gw.example", "*.gw.example"])?);
    file.add_terminated(HOST, &[backend.address()]);
    let service = Arc::new(service);
    let config = GatewayConfig::from_file(file.write()?, authority.root()).workers(workers).service(&service);
    let mut gateway = Gateway::start(sandbox, &config).await?;
    let mut load = Load::default();
    for client in [gateway.client()?, gateway.client()?.h2()] {
        for _ in 0..3 {
            load.add_client((client.clone(), None), request_kept_alive);
        }
        load.add_client(client, async |client| request_on_new_connection(client).await);
    }
    load.add_client(gateway.http(), async |http| {
        Connection::plain(*http).await?.get(HOST, "/").await?.expect(308).map(drop)
    });
    for restarted in 1..=4 {
        load.wait_for_more(100).await?;
        ensure!(service.notifications("READY=1")? == restarted, "it is ready");
        gateway.process().signal(Signal::SIGTERM)?;
        let status = gateway.process().end(TIMEOUT).await?;
        ensure!(status.code() == Some(0) && service.notifications("STOPPING=1")? == restarted, "{status}");
        gateway = Gateway::start(sandbox, &config).await?;
    }
    load.wait_for_more(100).await?;
    let (requests, slowest) = load.end().await?;
    println!("{requests} requests over four restarts, none failed, the slowest took {slowest} ms");
    Ok(())
}

/// Sends a request on a connection that is kept as long as the gateway request_kept_alive it open.
async fn request_kept_alive((client, kept): &mut (Client, Option<Connection>)) -> Result<()> {
    let mut connection = match kept.take() {
        Some(open) => open,
        None => client.connect(HOST).await?,
    };
    if !connection.is_open().await {
        connection = client.connect(HOST).await?;
    }
    connection.get(HOST, "/").await?.expect(200)?;
    *kept = Some(connection);
    Ok(())
}

async fn request_on_new_connection(client: &Client) -> Result<()> {
    client.get(HOST, "/").await?.expect(200).map(drop)
}

async fn a_restarted_controlplane_loses_no_request(sandbox: &Sandbox) -> Result<()> {
    let service = Systemd::new(sandbox, "controlplane")?.tcp("rpc", "127.0.0.1:8080")?;
    let service = Arc::new(service.unix("feed", &sandbox.path("controlplane/feed.sock"))?);
    let controlplane_config =
        ControlplaneConfig { service: Some(Arc::clone(&service)), ..ControlplaneConfig::default() };
    let mut controlplane = Controlplane::start_on(sandbox, &controlplane_config).await?;
    let gateway = Gateway::start(sandbox, &controlplane.gateway_config().await?).await?;
    let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
    let (rpc, url) = (controlplane.rpc()?, controlplane.url());
    let mut load = Load::default();
    for _ in 0..3 {
        load.add_client((Signer::for_user(&alice)?, url.clone()), async move |(signer, url)| {
            let mut api = Connection::plain(rpc).await?;
            let response = signer.call(&mut api, url, "routes.list", json!({})).await?.expect(200)?.json()?;
            ensure!(response["result"]["routes"].is_array(), "{response}");
            Ok(())
        });
    }
    for restarted in 1..=3 {
        load.wait_for_more(20).await?;
        ensure!(service.notifications("READY=1")? == restarted, "it is ready");
        controlplane.process().signal(Signal::SIGTERM)?;
        let status = controlplane.process().end(TIMEOUT).await?;
        ensure!(status.code() == Some(0), "{status}");
        ensure!(controlplane.feed().exists(), "the feed's socket is not its to remove");
        controlplane = Controlplane::start_on(sandbox, &controlplane_config).await?;
    }
    load.wait_for_more(20).await?;
    load.end().await?;
    // The nodes reconnect, too.
    let _backend = Backend::http(overlay(1, 8080)).await?;
    alice.create_route("-s hello -b [400::1]:8080").await?;
    let client = gateway.client()?;
    eventually("the node serves the route", TIMEOUT, async || {
        client.get("hello.gw.example", "/").await?.expect(200)
    })
    .await?;
    ensure!(service.notifications("STATUS=serving: version")? > 0, "systemctl status says how it does");
    Ok(())
}

async fn a_stuck_worker_stops_the_watchdog(sandbox: &Sandbox) -> Result<()> {
    let authority = Authority::new()?;
    let mut file = FeedFile::new(&sandbox.path("feed.json"), &authority.issue(&["gw.example"])?);
    let service =
        Arc::new(Systemd::new(sandbox, "dataplane")?.tcp("https", "[::]:443")?.tcp("http", "[::]:80")?);
    let config = GatewayConfig::from_file(file.write()?, authority.root()).workers(2).service(&service);
    let mut gateway = Gateway::start(sandbox, &config).await?;
    let pings = async |more: usize| {
        let goal = service.notifications("WATCHDOG=1")? + more;
        eventually("the watchdog is notified", TIMEOUT, async || {
            ensure!(service.notifications("WATCHDOG=1")? >= goal);
            Ok(())
        })
        .await
    };
    pings(3).await?;
    ensure!(
        service.notifications("STATUS=serving: version 1, 0 routes")? > 0,
        "systemctl status says how it does"
    );
    let worker = gateway.process().thread("worker 1")?;
    let stopped = StoppedThread::attach(worker)?;
    let complaints = |gateway: &mut Gateway| -> Result<usize> {
        Ok(gateway.process().log()?.matches("part is stuck").count())
    };
    let missed = async |gateway: &mut Gateway, times: usize| {
        eventually("the stuck worker is detected", TIMEOUT, async || {
            ensure!(complaints(gateway)? >= times);
            Ok(())
        })
        .await
    };
    missed(&mut gateway, 1).await?;
    let before = service.notifications("WATCHDOG=1")?;
    missed(&mut gateway, 4).await?;
    ensure!(
        service.notifications("WATCHDOG=1")? == before,
        "a process with a stuck worker says that it lives"
    );
    ensure!(gateway.process().log()?.contains("worker 1"), "the log names it");
    drop(stopped);
    pings(2).await
}

/// A thread that is stopped with ptrace until this is dropped. A process that is killed with a traced thread cannot
/// be waited for.
struct StoppedThread(Pid);

impl StoppedThread {
    fn attach(thread: Pid) -> Result<Self> {
        ptrace::attach(thread)?;
        let stopped = Self(thread);
        waitpid(thread, Some(WaitPidFlag::__WALL))?;
        Ok(stopped)
    }
}

impl Drop for StoppedThread {
    fn drop(&mut self) {
        let _ = ptrace::detach(self.0, None);
    }
}

async fn an_unknown_socket_is_refused_by_name(sandbox: &Sandbox) -> Result<()> {
    let config = GatewayConfig::from_file(&sandbox.path("feed.json"), Authority::new()?.root());
    let service = |name: &str| Systemd::new(sandbox, name);
    for (service, said) in [
        (service("1")?.tcp("webgateway.socket", "[::]:443")?, "`webgateway.socket`"),
        (service("2")?.unix("https", &sandbox.path("https.sock"))?, "must be a TCP listener"),
        (service("3")?.tcp("https", "[::]:443")?.tcp("https", "[::]:444")?, "443 and 444"),
    ] {
        let mut gateway = Gateway::start_unready(sandbox, &config.clone().service(&Arc::new(service)))?;
        let status = gateway.process().end(TIMEOUT).await?;
        let log = gateway.process().log()?;
        ensure!(!status.success() && log.contains(said), "{status}: {log}");
    }
    Ok(())
}

async fn a_draining_node_closes_its_connections(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let mut server = FeedServer::listen(&sandbox.path("feed.sock"))?;
    let authority = Authority::new()?;
    let base = authority.issue(&["gw.example", "*.gw.example"])?;
    let gateway =
        Gateway::start_unready(sandbox, &GatewayConfig::from_socket(server.path(), authority.root()))?;
    let mut node = server.next_subscription().await?;
    node.send([begin(Kind::Full)]).await?;
    node.send(base_resources(&base)?).await?;
    node.send([route(Uuid::now_v7(), HOST, backend.address()), end(1)]).await?;
    ensure!(node.wait_for_ack().await? == (Vec::new(), 1));
    gateway.ready().await?;
    let (mut h1, mut h2) =
        (gateway.client()?.connect(HOST).await?, gateway.client()?.h2().connect(HOST).await?);
    for connection in [&mut h1, &mut h2] {
        connection.get(HOST, "/").await?.expect(200)?;
    }
    let request = h2.request(Method::GET, HOST, "/stream/20").body(Full::default())?;
    let mut download = h2.open(request).await?;
    download.body_mut().frame().await.context("no first chunk")??;

    let directive = |drain| wire::feed_message::Message::Directive(wire::Directive { drain });
    node.send([directive(true)]).await?;
    node.wait_for_draining(true).await?;
    let unready = gateway.ready().await.err().context("it is ready")?.to_string();
    ensure!(unready.contains("drains"), "{unready}");
    let last = h1.get(HOST, "/").await?.expect(200)?;
    ensure!(last.header("connection") == "close", "{last:?}");
    h1.closed().await?;
    let rest = download.into_body().collect().await.context("a download was cut")?.to_bytes();
    ensure!(rest.ends_with(b"chunk 19\n"));
    h2.closed().await?;
    // No client is refused.
    for client in [gateway.client()?, gateway.client()?.h2()] {
        let mut late = client.connect(HOST).await?;
        late.get(HOST, "/").await?.expect(200)?;
        late.closed().await?;
    }

    node.send([directive(false)]).await?;
    node.wait_for_draining(false).await?;
    gateway.ready().await?;
    for client in [gateway.client()?, gateway.client()?.h2()] {
        let mut connection = client.connect(HOST).await?;
        for _ in 0..2 {
            let reply = connection.get(HOST, "/").await?.expect(200)?;
            ensure!(reply.header("connection").is_empty(), "{reply:?}");
        }
    }
    Ok(())
}
