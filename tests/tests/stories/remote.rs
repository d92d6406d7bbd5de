//! Nodes far away: they join with a token, come by mutual TLS, renew by themselves, and are sent away.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::exchange;
use webgateway_tests::controller::{Controller, Terms};
use webgateway_tests::gateway::{Gateway, Setup};
use webgateway_tests::gwctl::User;
use webgateway_tests::netns::overlay;
use webgateway_tests::process::{self, Output};
use webgateway_tests::scene::Scene;
use webgateway_tests::stories;
use webgateway_tests::wait::eventually;

stories![
    a_second_node_joins_and_serves,
    a_token_is_good_once_and_whole,
    a_token_expires,
    another_controlplane_is_not_joined,
    nobody_comes_from_afar_without_a_certificate,
    a_removed_node_is_cut_and_stays_out,
    a_node_renews_while_its_stream_goes_on,
    a_node_that_was_away_too_long_is_told_so,
    two_nodes_of_one_name_and_one_of_another,
    the_first_endpoint_is_dead_the_second_serves,
    a_drained_node_is_told_and_remembered,
];

const REMOTE: &str = "127.0.0.1:7443";
const WITHIN: Duration = Duration::from_secs(15);

/// A controlplane that takes nodes from afar, and its people.
struct World<'a> {
    scene: &'a Scene,
    controller: Controller,
    admin: User,
    alice: User,
    root: String,
}

impl<'a> World<'a> {
    async fn start(scene: &'a Scene, feed: &str) -> Result<Self> {
        let terms = Terms { remote: REMOTE.to_owned(), feed: feed.to_owned(), ..Terms::default() };
        let controller = Controller::start_on(scene, &terms).await?;
        let admin = User::create(&controller, scene.dir(), "admin").await?;
        let alice = User::create(&controller, scene.dir(), "alice").await?;
        let root = controller.root().await?;
        Ok(Self { scene, controller, admin, alice, root })
    }

    fn state(&self, name: &str) -> PathBuf {
        self.scene.path(&format!("state-{name}"))
    }

    async fn invite(&self, name: &str) -> Result<String> {
        let invitation = self.admin.json(["nodes", "invite", name]).await?;
        Ok(invitation["token"].as_str().context("no token")?.to_owned())
    }

    async fn join(&self, token: &str, state: &str) -> Result<Output> {
        let folder = self.state(state);
        let args = ["--state-dir", folder.to_str().context("text")?, "join", token].map(str::to_owned);
        process::run("webgateway-dataplane", &args, &[]).await
    }

    async fn joined(&self, name: &str) -> Result<()> {
        let output = self.join(&self.invite(name).await?, name).await?;
        ensure!(output.code == Some(0), "{output:?}");
        Ok(())
    }

    fn setup(&self, number: u8, endpoints: &[&str]) -> Setup {
        let state = self.state(&format!("node{number}"));
        Setup::from_remote(endpoints, &state, &self.root).number(number)
    }

    async fn node(&self, number: u8) -> Result<Gateway> {
        self.joined(&format!("node{number}")).await?;
        Gateway::start(self.scene, &self.setup(number, &[&format!("https://{REMOTE}")])).await
    }

    async fn listed(&self, name: &str) -> Result<Value> {
        let list = self.admin.json(["nodes", "list"]).await?;
        let nodes = list["nodes"].as_array().context("no nodes")?;
        nodes.iter().find(|node| node["node"] == name).cloned().with_context(|| format!("no {name}: {list}"))
    }

    async fn until_listed(&self, name: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        eventually("the node is listed so", WITHIN, async || {
            let node = self.listed(name).await?;
            ensure!(is(&node), "{node}");
            Ok(node)
        })
        .await
    }

    async fn serves(&self, gateway: &Gateway, host: &str) -> Result<()> {
        let visitor = gateway.visitor()?;
        eventually("the node serves it", WITHIN, async || visitor.get(host, "/").await?.expect(200)).await?;
        Ok(())
    }
}

async fn says(gateway: &mut Gateway, words: &str) -> Result<()> {
    eventually(words, WITHIN, async || {
        let log = gateway.process().logged()?;
        ensure!(log.contains(words), "the log does not say it");
        Ok(())
    })
    .await
}

async fn a_second_node_joins_and_serves(scene: &Scene) -> Result<()> {
    let world = World::start(scene, "").await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let first = Gateway::start(scene, &world.controller.setup().await?.number(1)).await?;
    let shown = world.admin.gwctl(["nodes", "invite", "node2"]).await?;
    let token = shown.stdout.lines().next().context("nothing")?.to_owned();
    let joined = world.join(&token, "node2").await?;
    ensure!(joined.code == Some(0) && joined.stdout.contains("joined as node2"), "{joined:?}");
    let file = world.state("node2").join("identity.json");
    ensure!(std::fs::metadata(&file)?.permissions().mode() & 0o777 == 0o600, "others can read it");
    let second = Gateway::start(scene, &world.setup(2, &[&format!("https://{REMOTE}")])).await?;
    world.alice.create_route("-s hello -b [400::1]:8080").await?;
    world.serves(&first, "hello.gw.example").await?;
    world.serves(&second, "hello.gw.example").await?;
    let node = world
        .until_listed("node2", |node| node["connected"] == true && node["lag"] == 0 && node["requests"] != 0)
        .await?;
    ensure!(node["address"] == "127.0.0.1" && node["certificate_not_after"].is_string(), "{node}");
    ensure!(world.listed("node1").await?["address"] == "unix");
    // The API is reached through it, too.
    let reply = second.visitor()?.get("gw.example", "/openrpc.json").await?;
    reply.expect(200)?;
    Ok(())
}

async fn a_token_is_good_once_and_whole(scene: &Scene) -> Result<()> {
    let world = World::start(scene, "").await?;
    let token = world.invite("node2").await?;
    for (garbled, word) in [(&token[..40], "not whole"), ("hello", "no join token")] {
        let refused = world.join(garbled, "garbled").await?;
        ensure!(refused.code == Some(1) && refused.stderr.contains(word), "{refused:?}");
    }
    ensure!(!world.state("garbled").exists(), "a bad token leaves something behind");
    let joined = world.join(&token, "node2").await?;
    ensure!(joined.code == Some(0), "{joined:?}");
    let again = world.join(&token, "other").await?;
    ensure!(again.code == Some(1) && again.stderr.contains("used already"), "{again:?}");
    let twice = world.join(&token, "node2").await?;
    ensure!(twice.code == Some(1) && twice.stderr.contains("joined already, as `node2`"), "{twice:?}");
    let taken = world.admin.gwctl(["nodes", "invite", "node2"]).await?;
    ensure!(taken.code == Some(7) && taken.stderr.contains("nodes remove"), "{taken:?}");
    let forbidden = world.alice.gwctl(["nodes", "invite", "node3"]).await?;
    ensure!(forbidden.code == Some(5), "{forbidden:?}");
    Ok(())
}

async fn a_token_expires(scene: &Scene) -> Result<()> {
    let world = World::start(scene, "").await?;
    for wrong in ["1", "59s", "8d", "soon"] {
        let refused = world.admin.gwctl(["nodes", "invite", "node2", "--ttl", wrong]).await?;
        ensure!(refused.code == Some(2) && refused.stderr.contains("--ttl"), "{refused:?}");
    }
    // A token whose hour is over, as its holder has it.
    let text = world.invite("node2").await?;
    let mut token = webgateway_proto::model::JoinToken::parse(&text)?;
    token.expires_at = 1_700_000_000;
    let refused = world.join(&token.to_text(), "node2").await?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("expired"), "{refused:?}");
    // It changed nothing: the true one is still good.
    ensure!(world.join(&text, "node2").await?.code == Some(0), "it is not good any more");
    Ok(())
}

async fn another_controlplane_is_not_joined(scene: &Scene) -> Result<()> {
    let world = World::start(scene, "").await?;
    let text = world.invite("node2").await?;
    let mut token = webgateway_proto::model::JoinToken::parse(&text)?;
    token.authority[0] ^= 1;
    let refused = world.join(&token.to_text(), "node2").await?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("its CA is another one"), "{refused:?}");
    token.authority[0] ^= 1;
    token.address = "127.0.0.1:1".parse()?;
    let refused = world.join(&token.to_text(), "node2").await?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("cannot reach"), "{refused:?}");
    ensure!(world.join(&text, "node2").await?.code == Some(0), "the secret went to somebody");
    Ok(())
}

async fn nobody_comes_from_afar_without_a_certificate(scene: &Scene) -> Result<()> {
    let mut world = World::start(scene, "").await?;
    let address: SocketAddr = REMOTE.parse()?;
    for bytes in [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], b"GET / HTTP/1.1\r\n\r\n", &[0; 4096]] {
        // TLS is spoken or nothing: at most an alert comes back.
        let answer = exchange(address, bytes).await.unwrap_or_default();
        ensure!(answer.len() <= 7, "{answer:?}");
    }
    let setup = world.setup(2, &[&format!("https://{REMOTE}")]);
    let mut gateway = Gateway::start_unready(scene, &setup)?;
    says(&mut gateway, "has not joined").await?;
    ensure!(gateway.ready().await.is_err());
    // The CA of the node is another one: the controlplane does not know its certificate.
    gateway.process().kill()?;
    world.joined("node2").await?;
    world.controller.process().kill()?;
    std::fs::remove_file(world.controller.database())?;
    let terms = Terms { remote: REMOTE.to_owned(), ..Terms::default() };
    world.controller = Controller::start_on(scene, &terms).await?;
    let mut gateway = Gateway::start_unready(scene, &setup)?;
    says(&mut gateway, "UnknownIssuer").await.or(says(&mut gateway, "invalid peer certificate").await)?;
    ensure!(gateway.ready().await.is_err());
    Ok(())
}

async fn a_removed_node_is_cut_and_stays_out(scene: &Scene) -> Result<()> {
    let world = World::start(scene, "").await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let mut gateway = world.node(2).await?;
    world.alice.create_route("-s hello -b [400::1]:8080").await?;
    world.serves(&gateway, "hello.gw.example").await?;
    let removed = world.admin.json(["nodes", "remove", "node2"]).await?;
    ensure!(removed["removed"] == true, "{removed}");
    let node = world.until_listed("node2", |node| node["connected"] == false).await?;
    ensure!(node["removed"] == true, "{node}");
    says(&mut gateway, "was removed").await?;
    // What it holds it serves, but it learns nothing more, and not through the API either.
    world.serves(&gateway, "hello.gw.example").await?;
    let reply = gateway.visitor()?.get("gw.example", "/openrpc.json").await?;
    ensure!(reply.status == 502 || reply.status == 503, "{reply:?}");
    let log = gateway.process().logged()?;
    let told = log.lines().filter(|line| line.contains("feed unavailable") && line.contains("WARN")).count();
    ensure!(told == 1, "it is said {told} times");
    gateway.process().kill()?;
    // The name can be invited again, and the old certificate stays out.
    let old = world.state("old");
    std::fs::rename(world.state("node2"), &old)?;
    let _again = world.node(2).await?;
    world.until_listed("node2", |node| node["connected"] == true && node["removed"] == false).await?;
    let setup = Setup::from_remote(&[&format!("https://{REMOTE}")], &old, &world.root).number(3);
    let mut stranger = Gateway::start_unready(scene, &setup)?;
    says(&mut stranger, "not on the controlplane's list").await?;
    let missing = world.admin.gwctl(["nodes", "remove", "nobody"]).await?;
    ensure!(missing.code == Some(6), "{missing:?}");
    Ok(())
}

async fn a_node_renews_while_its_stream_goes_on(scene: &Scene) -> Result<()> {
    let world = World::start(scene, "node_lifetime = \"6s\"").await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let mut gateway = world.node(2).await?;
    let first = world.until_listed("node2", |node| node["connected"] == true).await?;
    let file = world.state("node2").join("identity.json");
    let kept = std::fs::read(&file)?;
    let renewed = |node: &Value| node["certificate_not_after"] != first["certificate_not_after"];
    let node = world.until_listed("node2", renewed).await?;
    ensure!(node["connected"] == true && node["since"] == first["since"], "the stream was lost: {node}");
    says(&mut gateway, "node certificate renewed").await?;
    ensure!(std::fs::read(&file)? != kept, "the new one is not on the disk");
    world.alice.create_route("-s hello -b [400::1]:8080").await?;
    world.serves(&gateway, "hello.gw.example").await?;
    // The new one is good for a new connection, long after the first has ended.
    gateway.process().kill()?;
    let gateway = Gateway::start(scene, &world.setup(2, &[&format!("https://{REMOTE}")])).await?;
    world.serves(&gateway, "hello.gw.example").await
}

async fn a_node_that_was_away_too_long_is_told_so(scene: &Scene) -> Result<()> {
    let world = World::start(scene, "node_lifetime = \"5s\"").await?;
    world.joined("node2").await?;
    let ended = |node: &Value| {
        let text = node["certificate_not_after"].as_str().unwrap_or_default();
        time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339)
            .is_ok_and(|end| end.unix_timestamp() < webgateway_tests::clock::now())
    };
    world.until_listed("node2", ended).await?;
    let setup = world.setup(2, &[&format!("https://{REMOTE}")]);
    let mut gateway = Gateway::start_unready(scene, &setup)?;
    says(&mut gateway, "certificate has expired").await?;
    ensure!(gateway.ready().await.is_err());
    Ok(())
}

async fn two_nodes_of_one_name_and_one_of_another(scene: &Scene) -> Result<()> {
    let world = World::start(scene, "").await?;
    let mut first = world.node(2).await?;
    // A certificate of one name does not make a node of another.
    let endpoint = format!("https://{REMOTE}");
    let setup = Setup::from_remote(&[&endpoint], &world.state("node2"), &world.root).number(3);
    let mut liar = Gateway::start_unready(scene, &setup)?;
    says(&mut liar, "its certificate is that of `node2`").await?;
    ensure!(world.admin.json(["nodes", "list"]).await?["nodes"].as_array().is_some_and(|n| n.len() == 1));
    liar.process().kill()?;
    // The name without its certificate, over the socket of the controlplane's machine: the newest is the true one.
    let local = Setup::from_socket(&world.controller.feed(), &world.root).number(2);
    first.process().kill()?;
    let _local = Gateway::start(scene, &local).await?;
    let node = world.until_listed("node2", |node| node["connected"] == true).await?;
    ensure!(node["address"] == "unix", "{node}");
    Ok(())
}

async fn the_first_endpoint_is_dead_the_second_serves(scene: &Scene) -> Result<()> {
    let mut world = World::start(scene, "").await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    world.joined("node2").await?;
    let endpoints = ["https://127.0.0.1:1", &format!("https://{REMOTE}")];
    let mut gateway = Gateway::start(scene, &world.setup(2, &endpoints)).await?;
    world.alice.create_route("-s hello -b [400::1]:8080").await?;
    world.serves(&gateway, "hello.gw.example").await?;
    says(&mut gateway, "https://127.0.0.1:1").await?;
    world.controller.process().kill()?;
    let terms = Terms { remote: REMOTE.to_owned(), ..Terms::default() };
    world.controller = Controller::start_on(scene, &terms).await?;
    world.until_listed("node2", |node| node["connected"] == true && node["lag"] == 0).await?;
    Ok(())
}

async fn a_drained_node_is_told_and_remembered(scene: &Scene) -> Result<()> {
    let mut world = World::start(scene, "").await?;
    let _gateway = world.node(2).await?;
    let drained = world.admin.json(["nodes", "drain", "node2"]).await?;
    ensure!(drained["drained"] == true, "{drained}");
    world.controller.process().kill()?;
    let terms = Terms { remote: REMOTE.to_owned(), ..Terms::default() };
    world.controller = Controller::start_on(scene, &terms).await?;
    world
        .until_listed("node2", |node| {
            node["connected"] == true && node["drained"] == true && node["draining"] == true
        })
        .await?;
    let back = world.admin.json(["nodes", "drain", "node2", "--undo"]).await?;
    ensure!(back["drained"] == false, "{back}");
    let missing = world.admin.gwctl(["nodes", "drain", "nobody"]).await?;
    ensure!(missing.code == Some(6), "{missing:?}");
    Ok(())
}
