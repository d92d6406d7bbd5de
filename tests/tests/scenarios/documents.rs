//! Commands in the documents: the code blocks of each document are run as one script.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use webgateway_tests::backend::Backend;
use webgateway_tests::controlplane::{Controlplane, ControlplaneConfig};
use webgateway_tests::document::{Block, Document};
use webgateway_tests::gateway::Gateway;
use webgateway_tests::gwctl::User;
use webgateway_tests::process::{self, Process};
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::configuration::is_valid;

scenarios![
    the_readme_works,
    the_owners_guide_works,
    the_operators_guide_works,
    the_api_guide_works,
    every_document_with_commands_is_run,
    configurations_are_valid,
];

const README: &str = "README.md";
const OWNERS: &str = "docs/owners-guide.md";
const OPERATORS: &str = "docs/operators-guide.md";
const API: &str = "docs/api-guide.md";

/// The name of the node in the documents.
const NODE: &str = "fra-1";
/// The backends of the documents' routes, with addresses of the overlay.
const BACKENDS: [&str; 2] = ["54f:1::2", "54f:1::3"];
/// Replacements of values in the documents, such as the gateway's host.
const REPLACED: [(&str, &str); 3] = [
    ("https://gateway.example.com/rpc", "http://127.0.0.1:8080/rpc"),
    ("gateway.example.com", "gw.example"),
    ("-r ID", "-r \"$(first_route)\""),
];
/// The configuration of curl, which retries, as a route is served a moment after its creation.
const CURL: &str =
    "silent\nshow-error\nfail\nretry = 30\nretry-delay = 1\nretry-max-time = 30\nretry-all-errors\n";
const FUNCTIONS: &str = r#"
trap 'echo "failed: $BASH_COMMAND" >&2' ERR
first_route() { gwctl routes list --host myapp -o json | grep -m1 -o '"id": *"[^"]*"' | cut -d'"' -f4; }
"#;
const WITHIN: Duration = Duration::from_secs(20);

/// A gateway as described in the documents.
struct DocumentSetup<'a> {
    sandbox: &'a Sandbox,
    controlplane: Controlplane,
    _gateway: Gateway,
    _backends: Vec<Backend>,
}

impl<'a> DocumentSetup<'a> {
    async fn start(sandbox: &'a Sandbox) -> Result<Self> {
        let controlplane_config =
            ControlplaneConfig { remote: "127.0.0.1:7443".to_owned(), ..ControlplaneConfig::default() };
        let controlplane = Controlplane::start_on(sandbox, &controlplane_config).await?;
        let _gateway = Gateway::start(sandbox, &controlplane.gateway_config().await?.name(NODE)).await?;
        let mut _backends = Vec::new();
        for address in BACKENDS {
            let add = format!("-6 addr add {address}/7 dev lo nodad");
            let added =
                process::run("ip", &add.split(' ').map(str::to_owned).collect::<Vec<_>>(), &[]).await?;
            ensure!(added.code == Some(0), "{added:?}");
            _backends.push(Backend::http(format!("[{address}]:8080").parse()?).await?);
        }
        let root = sandbox.write("root.pem", &controlplane.root().await?)?;
        let connect = "connect-to = \"::[::1]:443\"";
        sandbox.write(".curlrc", &format!("{CURL}cacert = \"{}\"\n{connect}\n", root.display()))?;
        Ok(Self { sandbox, controlplane, _gateway, _backends })
    }

    /// Runs the commands of a document with these variables; those that run until Ctrl-C come last.
    async fn run(&self, path: &str, env: &[(&str, String)]) -> Result<()> {
        let (endless, blocks): (Vec<Block>, Vec<Block>) =
            commands(path)?.into_iter().partition(|block| block.tag == "until-interrupted");
        let mut script = self.prelude(env)?;
        for block in &blocks {
            // Writing to a String cannot fail.
            let _ = writeln!(script, ": line {}\n{}", block.line, replaced(&block.text));
        }
        let ran = process::run("bash", &["-euo".into(), "pipefail".into(), "-c".into(), script], &[]).await?;
        ensure!(ran.code == Some(0), "{path}: {}\n{}", ran.stderr, ran.stdout);
        for block in &endless {
            for command in block.text.lines() {
                self.run_until_interrupted(&replaced(command), env).await?;
            }
        }
        Ok(())
    }

    async fn run_until_interrupted(&self, command: &str, env: &[(&str, String)]) -> Result<()> {
        let script = format!("{}\nexec {command}", self.prelude(env)?);
        let mut running = Process::start("bash", &["-c", &script], &self.sandbox.path("endless.log"))?;
        eventually("the command prints something", WITHIN, async || {
            running.ensure_running()?;
            ensure!(!running.log()?.is_empty());
            Ok(())
        })
        .await?;
        // SIGTERM, as tests that run in the background inherit an ignored SIGINT.
        running.signal(Signal::SIGTERM)?;
        running.end(WITHIN).await?;
        Ok(())
    }

    /// Returns the start of each script, which sets the folder, `PATH` and variables.
    fn prelude(&self, env: &[(&str, String)]) -> Result<String> {
        let programs = process::find("gwctl")?;
        let (dir, programs) =
            (self.sandbox.dir().display(), programs.parent().context("a folder")?.display());
        let mut prelude =
            format!("cd '{dir}'\nexport HOME='{dir}' CURL_HOME='{dir}' PATH='{programs}':\"$PATH\"\n");
        for (name, value) in env {
            let _ = writeln!(prelude, "export {name}='{value}'");
        }
        prelude.push_str(FUNCTIONS);
        Ok(prelude)
    }

    /// Publishes a public key that a document generates, by a symbolic link in advance.
    fn expect_key(&self, name: &str) -> Result<()> {
        Ok(symlink(self.sandbox.path(name), self.controlplane.keys().join(name))?)
    }

    async fn admin(&self) -> Result<Vec<(&'static str, String)>> {
        let admin = User::create(&self.controlplane, self.sandbox.dir(), "admin").await?;
        Ok(admin.env()?.to_vec())
    }
}

/// Returns the code blocks of a document that are run.
fn commands(path: &str) -> Result<Vec<Block>> {
    let mut blocks = Document::read(path)?.blocks()?;
    blocks.retain(|block| ["run", "until-interrupted"].contains(&block.tag.as_str()));
    ensure!(!blocks.is_empty(), "{path} has no commands to run");
    Ok(blocks)
}

fn replaced(text: &str) -> String {
    REPLACED.iter().fold(text.to_owned(), |text, (old, new)| text.replace(old, new))
}

async fn the_readme_works(sandbox: &Sandbox) -> Result<()> {
    let setup = DocumentSetup::start(sandbox).await?;
    setup.expect_key("user1.pub")?;
    setup.run(README, &[]).await
}

async fn the_owners_guide_works(sandbox: &Sandbox) -> Result<()> {
    let setup = DocumentSetup::start(sandbox).await?;
    setup.expect_key("user1.pub")?;
    let key = sandbox.path("user1.priv").display().to_string();
    let env = [("WEBGATEWAY_URL", setup.controlplane.url()), ("WEBGATEWAY_KEY", key)];
    setup.run(OWNERS, &env).await
}

async fn the_operators_guide_works(sandbox: &Sandbox) -> Result<()> {
    let setup = DocumentSetup::start(sandbox).await?;
    User::create(&setup.controlplane, sandbox.dir(), "user1").await?;
    let env = setup.admin().await?;
    setup.run(OPERATORS, &env).await
}

async fn the_api_guide_works(sandbox: &Sandbox) -> Result<()> {
    let setup = DocumentSetup::start(sandbox).await?;
    let env = setup.admin().await?;
    let user = User::create(&setup.controlplane, sandbox.dir(), "user1").await?;
    user.create_route("-s myapp -b [54f:1::2]:8080").await?;
    setup.run(API, &env).await
}

async fn every_document_with_commands_is_run(_: &Sandbox) -> Result<()> {
    for document in Document::all()? {
        let has_commands = commands(&document.path).is_ok();
        let is_run = [README, OWNERS, OPERATORS, API].contains(&document.path.as_str());
        ensure!(has_commands == is_run, "{}: its commands have no scenario", document.path);
    }
    Ok(())
}

async fn configurations_are_valid(sandbox: &Sandbox) -> Result<()> {
    let mut checked = 0;
    for document in Document::all()? {
        for block in document.blocks()?.iter().filter(|block| block.language == "toml") {
            let program = format!("webgateway-{}", block.tag);
            let config = sandbox.write("config.toml", &block.text)?.display().to_string();
            let mut args = vec!["--config".to_owned(), config, "--check".to_owned()];
            if block.tag == "controlplane" && !block.text.contains("base_domain") {
                args.push("--base-domain=gateway.example.com".to_owned());
            }
            let ended = process::run(&program, &args, &[]).await?;
            // This machine lacks the documents' directories, but nothing else is wrong.
            ensure!(is_valid(&ended), "{}:{}: {ended:?}", document.path, block.line);
            checked += 1;
        }
    }
    ensure!(checked > 0, "no configuration was found");
    Ok(())
}
