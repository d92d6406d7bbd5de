//! Remote nodes: join tokens, mutual TLS, certificate renewal and removal.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::exchange;
use webgateway_tests::controlplane::{Controlplane, ControlplaneConfig};
use webgateway_tests::gateway::{Gateway, GatewayConfig};
use webgateway_tests::gwctl::User;
use webgateway_tests::netns::overlay;
use webgateway_tests::process::{self, Output};
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

scenarios![
    a_second_node_joins_and_serves,
    a_token_is_valid_once_and_unchanged,
    a_token_expires,
    another_controlplane_is_not_joined,
    a_remote_node_needs_a_certificate,
    a_removed_node_is_disconnected_and_refused,
    a_node_renews_its_certificate_on_an_open_stream,
    an_expired_node_certificate_is_reported,
    certificates_authenticate_one_node_name,
    the_second_endpoint_is_used_if_the_first_fails,
    a_drained_node_is_notified_and_stays_drained,
];

const REMOTE: &str = "127.0.0.1:7443";
const TIMEOUT: Duration = Duration::from_secs(15);

/// A controlplane that accepts remote nodes, and its users.
struct RemoteSetup<'a> {
    sandbox: &'a Sandbox,
    controlplane: Controlplane,
    admin: User,
    alice: User,
    root: String,
}

impl<'a> RemoteSetup<'a> {
    async fn start(sandbox: &'a Sandbox, feed: &str) -> Result<Self> {
        let controlplane_config = ControlplaneConfig {
            remote: REMOTE.to_owned(),
            feed: feed.to_owned(),
            ..ControlplaneConfig::default()
        };
        let controlplane = Controlplane::start_on(sandbox, &controlplane_config).await?;
        let admin = User::create(&controlplane, sandbox.dir(), "admin").await?;
        let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
        let root = controlplane.root().await?;
        Ok(Self { sandbox, controlplane, admin, alice, root })
    }

    fn state(&self, name: &str) -> PathBuf {
        self.sandbox.path(&format!("state-{name}"))
    }

    async fn create_token(&self, name: &str) -> Result<String> {
        let invitation = self.admin.json(["nodes", "invite", name]).await?;
        Ok(invitation["token"].as_str().context("no token")?.to_owned())
    }

    async fn join(&self, token: &str, state: &str) -> Result<Output> {
        let folder = self.state(state);
        let args = ["--state-dir", folder.to_str().context("text")?, "join", token].map(str::to_owned);
        process::run("webgateway-dataplane", &args, &[]).await
    }

    async fn join_with_new_token(&self, name: &str) -> Result<()> {
        let output = self.join(&self.create_token(name).await?, name).await?;
        ensure!(output.code == Some(0), "{output:?}");
        Ok(())
    }

    fn gateway_config(&self, number: u8, endpoints: &[&str]) -> GatewayConfig {
        let state = self.state(&format!("node{number}"));
        GatewayConfig::from_remote(endpoints, &state, &self.root).number(number)
    }

    async fn node(&self, number: u8) -> Result<Gateway> {
        self.join_with_new_token(&format!("node{number}")).await?;
        Gateway::start(self.sandbox, &self.gateway_config(number, &[&format!("https://{REMOTE}")])).await
    }

    async fn listed(&self, name: &str) -> Result<Value> {
        let list = self.admin.json(["nodes", "list"]).await?;
        let nodes = list["nodes"].as_array().context("no nodes")?;
        nodes.iter().find(|node| node["node"] == name).cloned().with_context(|| format!("no {name}: {list}"))
    }

    async fn wait_until_listed(&self, name: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        eventually("the node is listed as expected", TIMEOUT, async || {
            let node = self.listed(name).await?;
            ensure!(is(&node), "{node}");
            Ok(node)
        })
        .await
    }

    async fn serves(&self, gateway: &Gateway, host: &str) -> Result<()> {
        let client = gateway.client()?;
        eventually("the node serves the route", TIMEOUT, async || client.get(host, "/").await?.expect(200))
            .await?;
        Ok(())
    }
}

async fn wait_for_log(gateway: &mut Gateway, words: &str) -> Result<()> {
    eventually(words, TIMEOUT, async || {
        let log = gateway.process().log()?;
        ensure!(log.contains(words), "the log does not say it");
        Ok(())
    })
    .await
}

async fn a_second_node_joins_and_serves(sandbox: &Sandbox) -> Result<()> {
    let setup = RemoteSetup::start(sandbox, "").await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let first = Gateway::start(sandbox, &setup.controlplane.gateway_config().await?.number(1)).await?;
    let shown = setup.admin.gwctl(["nodes", "invite", "node2"]).await?;
    let token = shown.stdout.lines().next().context("nothing")?.to_owned();
    let joined = setup.join(&token, "node2").await?;
    ensure!(joined.code == Some(0) && joined.stdout.contains("joined as node2"), "{joined:?}");
    let file = setup.state("node2").join("identity.json");
    ensure!(std::fs::metadata(&file)?.permissions().mode() & 0o777 == 0o600, "others can read it");
    let second = Gateway::start(sandbox, &setup.gateway_config(2, &[&format!("https://{REMOTE}")])).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    setup.serves(&first, "hello.gw.example").await?;
    setup.serves(&second, "hello.gw.example").await?;
    let node = setup
        .wait_until_listed("node2", |node| {
            node["connected"] == true && node["lag"] == 0 && node["requests"] != 0
        })
        .await?;
    ensure!(node["address"] == "127.0.0.1" && node["certificate_not_after"].is_string(), "{node}");
    ensure!(setup.listed("node1").await?["address"] == "unix");
    // The node forwards API requests, too.
    let reply = second.client()?.get("gw.example", "/openrpc.json").await?;
    reply.expect(200)?;
    Ok(())
}

async fn a_token_is_valid_once_and_unchanged(sandbox: &Sandbox) -> Result<()> {
    let setup = RemoteSetup::start(sandbox, "").await?;
    let token = setup.create_token("node2").await?;
    for (garbled, word) in [(&token[..40], "incomplete or mistyped"), ("hello", "not a join token")] {
        let refused = setup.join(garbled, "garbled").await?;
        ensure!(refused.code == Some(1) && refused.stderr.contains(word), "{refused:?}");
    }
    ensure!(!setup.state("garbled").exists(), "a bad token leaves something behind");
    let joined = setup.join(&token, "node2").await?;
    ensure!(joined.code == Some(0), "{joined:?}");
    let again = setup.join(&token, "other").await?;
    ensure!(again.code == Some(1) && again.stderr.contains("used already"), "{again:?}");
    let twice = setup.join(&token, "node2").await?;
    ensure!(twice.code == Some(1) && twice.stderr.contains("joined already, as `node2`"), "{twice:?}");
    let taken = setup.admin.gwctl(["nodes", "invite", "node2"]).await?;
    ensure!(taken.code == Some(7) && taken.stderr.contains("nodes remove"), "{taken:?}");
    let forbidden = setup.alice.gwctl(["nodes", "invite", "node3"]).await?;
    ensure!(forbidden.code == Some(5), "{forbidden:?}");
    Ok(())
}

async fn a_token_expires(sandbox: &Sandbox) -> Result<()> {
    let setup = RemoteSetup::start(sandbox, "").await?;
    for wrong in ["1", "59s", "8d", "soon"] {
        let refused = setup.admin.gwctl(["nodes", "invite", "node2", "--ttl", wrong]).await?;
        ensure!(refused.code == Some(2) && refused.stderr.contains("--ttl"), "{refused:?}");
    }
    // A token that expired an hour ago, with a forged expiry.
    let text = setup.create_token("node2").await?;
    let mut token = webgateway_proto::model::JoinToken::parse(&text)?;
    token.expires_at = 1_700_000_000;
    let refused = setup.join(&token.to_text(), "node2").await?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("expired"), "{refused:?}");
    // A refused attempt does not use up the token.
    ensure!(setup.join(&text, "node2").await?.code == Some(0), "it is not good any more");
    Ok(())
}

async fn another_controlplane_is_not_joined(sandbox: &Sandbox) -> Result<()> {
    let setup = RemoteSetup::start(sandbox, "").await?;
    let text = setup.create_token("node2").await?;
    let mut token = webgateway_proto::model::JoinToken::parse(&text)?;
    token.authority[0] ^= 1;
    let refused = setup.join(&token.to_text(), "node2").await?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("its CA is another one"), "{refused:?}");
    token.authority[0] ^= 1;
    token.address = "127.0.0.1:1".parse()?;
    let refused = setup.join(&token.to_text(), "node2").await?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("cannot reach"), "{refused:?}");
    ensure!(setup.join(&text, "node2").await?.code == Some(0), "the secret went to somebody");
    Ok(())
}

async fn a_remote_node_needs_a_certificate(sandbox: &Sandbox) -> Result<()> {
    let mut setup = RemoteSetup::start(sandbox, "").await?;
    let address: SocketAddr = REMOTE.parse()?;
    for bytes in [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], b"GET / HTTP/1.1\r\n\r\n", &[0; 4096]] {
        // Only TLS is accepted: at most an alert comes back.
        let response = exchange(address, bytes).await.unwrap_or_default();
        ensure!(response.len() <= 7, "{response:?}");
    }
    let config = setup.gateway_config(2, &[&format!("https://{REMOTE}")]);
    let mut gateway = Gateway::start_unready(sandbox, &config)?;
    wait_for_log(&mut gateway, "has not joined").await?;
    ensure!(gateway.ready().await.is_err());
    // The node's certificate is from another CA, which the controlplane does not trust.
    gateway.process().kill()?;
    setup.join_with_new_token("node2").await?;
    setup.controlplane.process().kill()?;
    std::fs::remove_file(setup.controlplane.database())?;
    let controlplane_config =
        ControlplaneConfig { remote: REMOTE.to_owned(), ..ControlplaneConfig::default() };
    setup.controlplane = Controlplane::start_on(sandbox, &controlplane_config).await?;
    let mut gateway = Gateway::start_unready(sandbox, &config)?;
    wait_for_log(&mut gateway, "UnknownIssuer").await.or(wait_for_log(
        &mut gateway,
        "invalid peer certificate",
    )
    .await)?;
    ensure!(gateway.ready().await.is_err());
    Ok(())
}

async fn a_removed_node_is_disconnected_and_refused(sandbox: &Sandbox) -> Result<()> {
    let setup = RemoteSetup::start(sandbox, "").await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let mut gateway = setup.node(2).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    setup.serves(&gateway, "hello.gw.example").await?;
    let removed = setup.admin.json(["nodes", "remove", "node2"]).await?;
    ensure!(removed["removed"] == true, "{removed}");
    let node = setup.wait_until_listed("node2", |node| node["connected"] == false).await?;
    ensure!(node["removed"] == true, "{node}");
    wait_for_log(&mut gateway, "was removed").await?;
    // The node serves the routes it holds, but receives no updates, and cannot forward API requests.
    setup.serves(&gateway, "hello.gw.example").await?;
    let reply = gateway.client()?.get("gw.example", "/openrpc.json").await?;
    ensure!(reply.status == 502 || reply.status == 503, "{reply:?}");
    let log = gateway.process().log()?;
    let told = log.lines().filter(|line| line.contains("feed unavailable") && line.contains("WARN")).count();
    ensure!(told == 1, "it is said {told} times");
    gateway.process().kill()?;
    // The name can be invited again, and the old certificate stays refused.
    let old = setup.state("old");
    std::fs::rename(setup.state("node2"), &old)?;
    let _again = setup.node(2).await?;
    setup.wait_until_listed("node2", |node| node["connected"] == true && node["removed"] == false).await?;
    let config = GatewayConfig::from_remote(&[&format!("https://{REMOTE}")], &old, &setup.root).number(3);
    let mut other = Gateway::start_unready(sandbox, &config)?;
    wait_for_log(&mut other, "does not know this node's certificate").await?;
    let missing = setup.admin.gwctl(["nodes", "remove", "nobody"]).await?;
    ensure!(missing.code == Some(6), "{missing:?}");
    Ok(())
}

async fn a_node_renews_its_certificate_on_an_open_stream(sandbox: &Sandbox) -> Result<()> {
    let setup = RemoteSetup::start(sandbox, "node_lifetime = \"6s\"").await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let mut gateway = setup.node(2).await?;
    let first = setup.wait_until_listed("node2", |node| node["connected"] == true).await?;
    let file = setup.state("node2").join("identity.json");
    let kept = std::fs::read(&file)?;
    let renewed = |node: &Value| node["certificate_not_after"] != first["certificate_not_after"];
    let node = setup.wait_until_listed("node2", renewed).await?;
    ensure!(node["connected"] == true && node["since"] == first["since"], "the stream was lost: {node}");
    wait_for_log(&mut gateway, "node certificate renewed").await?;
    ensure!(std::fs::read(&file)? != kept, "the new one is not on the disk");
    setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    setup.serves(&gateway, "hello.gw.example").await?;
    // The new certificate works for a new connection after the first certificate has expired.
    gateway.process().kill()?;
    let gateway = Gateway::start(sandbox, &setup.gateway_config(2, &[&format!("https://{REMOTE}")])).await?;
    setup.serves(&gateway, "hello.gw.example").await
}

async fn an_expired_node_certificate_is_reported(sandbox: &Sandbox) -> Result<()> {
    let setup = RemoteSetup::start(sandbox, "node_lifetime = \"5s\"").await?;
    setup.join_with_new_token("node2").await?;
    let ended = |node: &Value| {
        let text = node["certificate_not_after"].as_str().unwrap_or_default();
        time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339)
            .is_ok_and(|end| end.unix_timestamp() < webgateway_tests::clock::now())
    };
    setup.wait_until_listed("node2", ended).await?;
    let config = setup.gateway_config(2, &[&format!("https://{REMOTE}")]);
    let mut gateway = Gateway::start_unready(sandbox, &config)?;
    wait_for_log(&mut gateway, "certificate has expired").await?;
    ensure!(gateway.ready().await.is_err());
    Ok(())
}

async fn certificates_authenticate_one_node_name(sandbox: &Sandbox) -> Result<()> {
    let setup = RemoteSetup::start(sandbox, "").await?;
    let mut first = setup.node(2).await?;
    // A certificate for one name does not authenticate another node.
    let endpoint = format!("https://{REMOTE}");
    let config = GatewayConfig::from_remote(&[&endpoint], &setup.state("node2"), &setup.root).number(3);
    let mut impostor = Gateway::start_unready(sandbox, &config)?;
    wait_for_log(&mut impostor, "its certificate is for `node2`").await?;
    ensure!(setup.admin.json(["nodes", "list"]).await?["nodes"].as_array().is_some_and(|n| n.len() == 1));
    impostor.process().kill()?;
    // A local node of the same name, over the unix socket without a certificate: the newest connection wins.
    let local = GatewayConfig::from_socket(&setup.controlplane.feed(), &setup.root).number(2);
    first.process().kill()?;
    let _local = Gateway::start(sandbox, &local).await?;
    let node = setup.wait_until_listed("node2", |node| node["connected"] == true).await?;
    ensure!(node["address"] == "unix", "{node}");
    Ok(())
}

async fn the_second_endpoint_is_used_if_the_first_fails(sandbox: &Sandbox) -> Result<()> {
    let mut setup = RemoteSetup::start(sandbox, "").await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.join_with_new_token("node2").await?;
    let endpoints = ["https://127.0.0.1:1", &format!("https://{REMOTE}")];
    let mut gateway = Gateway::start(sandbox, &setup.gateway_config(2, &endpoints)).await?;
    setup.alice.create_route("-s hello -b [400::1]:8080").await?;
    setup.serves(&gateway, "hello.gw.example").await?;
    wait_for_log(&mut gateway, "https://127.0.0.1:1").await?;
    setup.controlplane.process().kill()?;
    let controlplane_config =
        ControlplaneConfig { remote: REMOTE.to_owned(), ..ControlplaneConfig::default() };
    setup.controlplane = Controlplane::start_on(sandbox, &controlplane_config).await?;
    setup.wait_until_listed("node2", |node| node["connected"] == true && node["lag"] == 0).await?;
    Ok(())
}

async fn a_drained_node_is_notified_and_stays_drained(sandbox: &Sandbox) -> Result<()> {
    let mut setup = RemoteSetup::start(sandbox, "").await?;
    let _gateway = setup.node(2).await?;
    let drained = setup.admin.json(["nodes", "drain", "node2"]).await?;
    ensure!(drained["drained"] == true, "{drained}");
    setup.controlplane.process().kill()?;
    let controlplane_config =
        ControlplaneConfig { remote: REMOTE.to_owned(), ..ControlplaneConfig::default() };
    setup.controlplane = Controlplane::start_on(sandbox, &controlplane_config).await?;
    setup
        .wait_until_listed("node2", |node| {
            node["connected"] == true && node["drained"] == true && node["draining"] == true
        })
        .await?;
    let back = setup.admin.json(["nodes", "drain", "node2", "--undo"]).await?;
    ensure!(back["drained"] == false, "{back}");
    let missing = setup.admin.gwctl(["nodes", "drain", "nobody"]).await?;
    ensure!(missing.code == Some(6), "{missing:?}");
    Ok(())
}
