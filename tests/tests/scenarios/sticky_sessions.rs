//! Sticky sessions with the cookie jar of curl.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use webgateway_tests::backend::{Backend, RawBehaviour};
use webgateway_tests::feed_file::FeedFile;
use webgateway_tests::gateway::{Gateway, GatewayConfig};
use webgateway_tests::netns::overlay;
use webgateway_tests::process;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::setup::standalone::StandaloneSetup;

scenarios![
    a_cookie_keeps_a_client_at_one_backend,
    a_client_of_a_lost_backend_gets_another_one,
    the_cookies_of_a_backend_stay,
];

const HOST: &str = "app.gw.example";
const NAME: &str = "__Host-backend";
const SOON: Duration = Duration::from_secs(10);

async fn backends() -> Result<[Backend; 3]> {
    Ok([
        Backend::http(overlay(1, 8080)).await?,
        Backend::http(overlay(2, 8080)).await?,
        Backend::http(overlay(3, 8080)).await?,
    ])
}

/// A user agent with a cookie jar.
struct Browser {
    jar: String,
    root: String,
}

/// A response: the Set-Cookie fields of its head, and its body.
struct Page {
    set: Vec<String>,
    body: String,
}

impl Browser {
    fn new(sandbox: &Sandbox, root: &str, jar: &str) -> Result<Self> {
        let text = |path: &Path| path.to_str().map(str::to_owned).context("a path that is text");
        let root = text(&sandbox.write("root.pem", root)?)?;
        Ok(Self { jar: text(&sandbox.path(jar))?, root })
    }

    /// Requests the host from the node at `node`.
    async fn get(&self, node: SocketAddr, more: &[&str]) -> Result<Page> {
        let resolve = format!("{HOST}:443:{}", node.ip());
        let url = format!("https://{HOST}/");
        let mut args =
            vec!["-sS", "-i", "--max-time", "30", "-b", &self.jar, "-c", &self.jar, "--cacert", &self.root];
        args.extend(["--resolve", &resolve, &url]);
        args.extend(more);
        let output =
            process::run("curl", &args.into_iter().map(str::to_owned).collect::<Vec<_>>(), &[]).await?;
        ensure!(output.code == Some(0), "{output:?}");
        let text = output.stdout.replace("\r\n", "\n");
        let (head, body) = text.split_once("\n\n").context("no head")?;
        ensure!(head.lines().next().is_some_and(|status| status.contains(" 200")), "{head}");
        let lines = head.lines().filter(|line| line.to_ascii_lowercase().starts_with("set-cookie:"));
        Ok(Page { set: lines.map(str::to_owned).collect(), body: body.to_owned() })
    }
}

impl Page {
    fn seen(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| self.body.clone())
    }

    fn backend(&self) -> Result<String> {
        Ok(self.seen()?["backend"].as_str().context("no backend")?.to_owned())
    }

    /// Returns the cookies that reached the backend.
    fn forwarded(&self) -> Result<Vec<String>> {
        let seen = self.seen()?;
        let fields = seen["headers"].as_array().context("no headers")?.iter();
        let cookies = fields.filter(|field| field[0] == "cookie").filter_map(|field| field[1].as_str());
        Ok(cookies.map(str::to_owned).collect())
    }
}

fn sticky(file: &mut FeedFile, backends: &[SocketAddr]) {
    file.add_terminated(HOST, backends).set_options(HOST, &json!({ "sticky": {} }));
}

async fn a_cookie_keeps_a_client_at_one_backend(sandbox: &Sandbox) -> Result<()> {
    let addresses = backends().await?;
    let addresses = addresses.each_ref().map(Backend::address);
    let start = |file: &mut FeedFile| sticky(file, &addresses);
    let mut setup = StandaloneSetup::start_with(sandbox, start, |config| config.number(1)).await?;
    let second = GatewayConfig::from_file(setup.file.write()?, setup.authority.root()).number(2);
    let second = Gateway::start(sandbox, &second).await?;
    let nodes = [setup.gateway.https(), second.https()];
    let mut used = std::collections::BTreeSet::new();
    for jar in ["one", "two", "three"] {
        let browser = Browser::new(sandbox, setup.authority.root(), jar)?;
        let first = browser.get(nodes[0], &[]).await?;
        let [set] = &first.set[..] else { anyhow::bail!("{:?}", first.set) };
        let value = set.split_once('=').and_then(|(_, rest)| rest.split(';').next()).context("no value")?;
        ensure!(set.ends_with("; Path=/; HttpOnly; Secure; SameSite=Lax") && set.contains(NAME), "{set}");
        ensure!(value.len() == 24 && !set.contains("400::"), "{set}");
        let backend = first.backend()?;
        used.insert(backend.clone());
        for (round, node) in nodes.into_iter().cycle().take(8).enumerate() {
            let protocol = if round < 4 { "--http2" } else { "--http1.1" };
            let other = format!("a=1; {NAME}=garbage");
            let page = browser.get(node, &[protocol]).await?;
            ensure!(page.backend()? == backend && page.set.is_empty(), "round {round}: {:?}", page.set);
            ensure!(page.forwarded()?.is_empty(), "{:?}", page.forwarded());
            // A cookie of the user's own wins over the jar in curl, and names no backend.
            let garbage = Browser { jar: "/dev/null".into(), root: browser.root.clone() };
            let page = garbage.get(node, &[protocol, "-H", &format!("Cookie: {other}")]).await?;
            ensure!(page.set.len() == 1 && page.forwarded()? == ["a=1"], "{:?}", page.forwarded());
        }
    }
    ensure!(used.len() == 3, "in turn: {used:?}");
    Ok(())
}

async fn a_client_of_a_lost_backend_gets_another_one(sandbox: &Sandbox) -> Result<()> {
    let [one, two, three] = backends().await?;
    let mut by_address: std::collections::BTreeMap<String, Backend> =
        [one, two, three].into_iter().map(|backend| (backend.address().to_string(), backend)).collect();
    let addresses: Vec<SocketAddr> = by_address.values().map(Backend::address).collect();
    let mut setup = StandaloneSetup::start(sandbox, |file| sticky(file, &addresses)).await?;
    let browser = Browser::new(sandbox, setup.authority.root(), "jar")?;
    let node = setup.gateway.https();
    let first = browser.get(node, &[]).await?.backend()?;
    // Drained, it keeps its clients.
    setup.change(|file| {
        file.set_options(HOST, &json!({ "weights": { &first: 0 } }));
    })?;
    let newcomer = Browser { jar: "/dev/null".into(), root: browser.root.clone() };
    eventually("newcomers get the others only", SOON, async || {
        for _ in 0..6 {
            ensure!(newcomer.get(node, &[]).await?.backend()? != first);
        }
        Ok(())
    })
    .await?;
    let page = browser.get(node, &[]).await?;
    ensure!(page.backend()? == first && page.set.is_empty());
    // Gone, its client moves once, with a new cookie.
    drop(by_address.remove(&first));
    let moved = browser.get(node, &[]).await?;
    let second = moved.backend()?;
    ensure!(second != first && moved.set.len() == 1, "{:?}", moved.set);
    for _ in 0..6 {
        let page = browser.get(node, &[]).await?;
        ensure!(page.backend()? == second && page.set.is_empty());
    }
    // Removed from the route, too.
    let left: Vec<SocketAddr> =
        addresses.iter().copied().filter(|address| address.to_string() != second).collect();
    setup.change(|file| {
        file.set_options(HOST, &json!({ "weights": {} })).set_backends(HOST, &left);
    })?;
    eventually("the client moves", SOON, async || {
        ensure!(browser.get(node, &[]).await?.backend()? != second);
        Ok(())
    })
    .await
}

async fn the_cookies_of_a_backend_stay(sandbox: &Sandbox) -> Result<()> {
    let respond =
        |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\n{{}}").into_bytes();
    let own = RawBehaviour::Respond(respond("Set-Cookie: sid=1\r\nSet-Cookie: theme=dark\r\n"));
    let backend = Backend::raw(overlay(1, 8080), own).await?;
    let options = json!({ "sticky": { "cookie": "srv", "ttl": 60 } });
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated(HOST, &[backend.address()]).set_options(HOST, &options);
    })
    .await?;
    let browser = Browser::new(sandbox, setup.authority.root(), "jar")?;
    let page = browser.get(setup.gateway.https(), &[]).await?;
    let [sid, theme, srv] = &page.set[..] else { anyhow::bail!("{:?}", page.set) };
    ensure!(sid.ends_with(" sid=1") && theme.ends_with(" theme=dark"), "{:?}", page.set);
    ensure!(srv.contains(" srv=") && srv.contains("; Max-Age=60;"), "{srv}");
    ensure!(browser.get(setup.gateway.https(), &[]).await?.set.len() == 2, "the client has it");
    Ok(())
}
