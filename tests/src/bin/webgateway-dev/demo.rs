//! The demo: starts everything, creates two routes, requests both, and prints what to try next.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use webgateway_tests::backend::Backend;
use webgateway_tests::client::{Client, Connection};
use webgateway_tests::pebble::{Pebble, PebbleConfig};
use webgateway_tests::process::{self, Process};
use webgateway_tests::resolver::Resolver;
use webgateway_tests::wait::eventually;

use crate::ports::{ADMIN, BACKEND, DNS, HTTP, HTTPS, RESOLVER, RPC, TLS_BACKEND, local};
use crate::state::{BASE_DOMAIN, PASSTHROUGH, State, TERMINATED, read};

const START: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(10);
const GWCTL: &str = "target/debug/gwctl";
const USER: &str = "alice";

/// The running processes and servers.
pub(crate) struct Demo<'a> {
    state: &'a State,
    step: u32,
    /// The processes, in the order in which they started.
    pub(crate) processes: Vec<Process>,
    /// The CA and its resolver, with ACME.
    ca: Option<(Pebble, Resolver)>,
    _backends: [Backend; 2],
}

impl<'a> Demo<'a> {
    /// Starts the sample backends.
    pub(crate) async fn begin(state: &'a State) -> Result<Self> {
        println!("webgateway on loopback; its state is in {}", state.text(""));
        let plain = Backend::http(local(BACKEND)).await?;
        let tls = Backend::https(local(TLS_BACKEND), state.backend_tls()?).await?;
        Ok(Self { state, step: 0, processes: Vec::new(), ca: None, _backends: [plain, tls] })
    }

    /// Runs the demo, from the first start to two good requests.
    pub(crate) async fn show(&mut self) -> Result<()> {
        self.print_step("A sample backend that returns the request");
        println!("   plain http on 127.0.0.1:{BACKEND}, with TLS of its own on 127.0.0.1:{TLS_BACKEND}");
        if self.state.is_acme() {
            self.certificate_authority().await?;
        }
        self.controlplane().await?;
        self.dataplane().await?;
        self.key_pair().await?;
        let plain = format!("-s hello -b 127.0.0.1:{BACKEND}");
        self.route("A terminated route: the gateway has the certificate", TERMINATED, &plain).await?;
        let tls = format!("-f {PASSTHROUGH} -t -b 127.0.0.1:{TLS_BACKEND}");
        self.route("A passthrough route: the backend has the certificate", PASSTHROUGH, &tls).await?;
        self.request(TERMINATED, self.state.root()).await?;
        self.request(PASSTHROUGH, "backend-ca.pem").await
    }

    /// Prints commands to try next. What an earlier run has created is not created again.
    pub(crate) async fn suggest(&self) -> Result<()> {
        let [ca, keys] = [self.state.root(), "keys"].map(|name| self.state.text(name));
        let dir = self.state.text("");
        let second = match self.has_route("second.gw.localhost").await? {
            true => "routes get second.gw.localhost".to_owned(),
            false => format!("routes create -s second -b 127.0.0.1:{BACKEND}"),
        };
        let generate = match self.state.path("admin.priv").exists() {
            true => String::new(),
            false => format!("\n   {GWCTL} keys generate {dir}admin && cp {dir}admin.pub {keys}/"),
        };
        println!(
            r#"
To try next, in another terminal:
   export WEBGATEWAY_URL=http://127.0.0.1:{RPC}/rpc WEBGATEWAY_ID={USER}.pub WEBGATEWAY_KEY={dir}{USER}.priv
   {GWCTL} routes list
   {GWCTL} {second}
   curl --cacert {ca} --resolve second.gw.localhost:{HTTPS}:127.0.0.1 https://second.gw.localhost:{HTTPS}/
   curl -i -H 'Host: {TERMINATED}' http://127.0.0.1:{HTTP}/                 # sent to https
   curl --cacert {ca} --resolve gw.localhost:{HTTPS}:127.0.0.1 https://gw.localhost:{HTTPS}/openrpc.json
   dig @127.0.0.1 -p {DNS} _acme-challenge.gw.localhost SOA
   curl http://127.0.0.1:{ADMIN}/metrics
An operator's commands need the admin's key:{generate}
   {GWCTL} -i admin.pub -k {dir}admin.priv admin suspend --user {USER}.pub
   {GWCTL} -i admin.pub -k {dir}admin.priv admin unsuspend --user {USER}.pub

Ctrl-C ends it."#
        );
        Ok(())
    }

    async fn certificate_authority(&mut self) -> Result<()> {
        self.print_step("A certificate authority, Let's Encrypt's pebble, and the DNS that it asks");
        let resolver = Resolver::start(RESOLVER, BASE_DOMAIN, local(DNS)).await?;
        resolver.set_addresses(BASE_DOMAIN, &[local(DNS).ip()])?;
        let pebble_config = PebbleConfig { https: HTTPS, http: HTTP, ..PebbleConfig::default() };
        let pebble = Pebble::start(self.state.dir(), &resolver, &pebble_config).await?;
        fs::write(self.state.path(self.state.root()), pebble.root().await?)?;
        println!(
            "   its directory is {}, its root {}",
            Pebble::directory(),
            self.state.text(self.state.root())
        );
        println!(
            "   _acme-challenge.{BASE_DOMAIN} is delegated to 127.0.0.1:{DNS}, the controlplane's name server"
        );
        self.ca = Some((pebble, resolver));
        Ok(())
    }

    async fn controlplane(&mut self) -> Result<()> {
        self.print_step("The controlplane: routes, keys, certificates, the API");
        self.start("webgateway-controlplane", "controlplane").await?;
        let root = self.state.path("internal-ca.pem");
        let running = self.processes.last_mut().context("just started")?;
        eventually("the controlplane answers", START, async || {
            running.ensure_running()?;
            if !self.state.is_acme() {
                read(&root)?;
            }
            let mut api = Connection::plain(local(RPC)).await?;
            api.get(&format!("127.0.0.1:{RPC}"), "/openrpc.json").await?.expect(200)
        })
        .await?;
        println!("   it answers on http://127.0.0.1:{RPC}/rpc");
        Ok(())
    }

    async fn dataplane(&mut self) -> Result<()> {
        self.print_step("The dataplane: clients come here");
        self.start("webgateway-dataplane", "dataplane").await?;
        let running = self.processes.last_mut().context("just started")?;
        eventually("the dataplane is ready", START, async || {
            running.ensure_running()?;
            Connection::plain(local(ADMIN)).await?.get("localhost", "/readyz").await?.expect(200)
        })
        .await?;
        println!("   it is ready: https on 127.0.0.1:{HTTPS}, http on 127.0.0.1:{HTTP}");
        Ok(())
    }

    async fn start(&mut self, binary: &str, name: &str) -> Result<()> {
        let config = self.state.text(&format!("{name}.toml"));
        let log = format!("{name}.log");
        println!("   $ target/debug/{binary} --config {config} 2> {}", self.state.text(&log));
        let log = self.state.path(&log);
        if log.exists() {
            fs::remove_file(&log)?;
        }
        self.processes.push(Process::start(binary, &["--config", &config], &log)?);
        Ok(())
    }

    async fn key_pair(&mut self) -> Result<()> {
        self.print_step("A key pair, and its public half where the controlplane looks");
        let public = format!("{USER}.pub");
        if self.state.path(&public).exists() && self.state.path(&format!("{USER}.priv")).exists() {
            println!("   there already: {}", self.state.text(&public));
        } else {
            self.gwctl(&format!("keys generate {}", self.state.text(USER))).await?;
        }
        let known = self.state.text(&format!("keys/{public}"));
        println!("   $ cp {} {known}", self.state.text(&public));
        fs::copy(self.state.path(&public), known)?;
        Ok(())
    }

    async fn route(&mut self, what: &str, host: &str, flags: &str) -> Result<()> {
        self.print_step(what);
        if self.has_route(host).await? {
            println!("   there already: {host}");
            return Ok(());
        }
        self.signed(&format!("routes create {flags}"), true).await.map(drop)
    }

    async fn has_route(&self, host: &str) -> Result<bool> {
        let listed: Value = serde_json::from_str(&self.signed("routes list -o json", false).await?)?;
        let routes = listed["routes"].as_array().context("no list of routes")?;
        Ok(routes.iter().any(|route| route["host"] == host))
    }

    async fn request(&mut self, host: &str, root: &str) -> Result<()> {
        self.print_step(&format!("A request for {host}, by name, its certificate verified"));
        let root = self.state.path(root);
        println!(
            "   $ curl --cacert {} --resolve {host}:{HTTPS}:127.0.0.1 https://{host}:{HTTPS}/greeting",
            root.display()
        );
        let client = Client::new(local(HTTPS), &read(&root)?)?;
        let begun = Instant::now();
        let reply = eventually("a good response arrives", ANSWER, async || {
            client.get(host, "/greeting").await?.expect(200)
        })
        .await
        .context("if its routes or users were changed since, begin anew: rm -rf target/dev")?;
        let seen = reply.json()?;
        ensure!(seen["target"] == "/greeting", "the backend saw something else: {seen}");
        println!(
            "   200 in {:?}: the backend {} saw {} {}",
            begun.elapsed(),
            seen["backend"],
            seen["method"],
            seen["target"]
        );
        Ok(())
    }

    async fn signed(&self, args: &str, loud: bool) -> Result<String> {
        let flags = format!(
            "-u http://127.0.0.1:{RPC}/rpc -i {USER}.pub -k {} {args}",
            self.state.text(&format!("{USER}.priv"))
        );
        if loud { self.gwctl(&flags).await } else { run(&flags).await }
    }

    async fn gwctl(&self, args: &str) -> Result<String> {
        println!("   $ {GWCTL} {args}");
        let output = run(args).await?;
        for line in output.lines() {
            println!("   {line}");
        }
        Ok(output)
    }

    fn print_step(&mut self, what: &str) {
        self.step += 1;
        println!("\n{}. {what}", self.step);
    }
}

async fn run(args: &str) -> Result<String> {
    let words: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
    let output = process::run("gwctl", &words, &[]).await?;
    ensure!(output.code == Some(0), "gwctl {args}: {}{}", output.stderr, output.stdout);
    Ok(output.stdout)
}
