//! Let's Encrypt's pebble: a real ACME CA, in the scenario's namespace.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::authority::Authority;
use crate::client::Client;
use crate::process::Process;
use crate::resolver::Resolver;
use crate::wait::eventually;

/// The port of its ACME API.
pub const PORT: u16 = 14000;
/// The port on which it tells of itself.
pub const MANAGEMENT: u16 = 15000;
const START: Duration = Duration::from_secs(20);

/// How a CA behaves.
#[derive(Debug, Clone)]
pub struct PebbleConfig {
    /// How many of 100 nonces it refuses although they are good.
    pub nonces_refused: u8,
    /// How many seconds it takes, at most, before it looks at a challenge.
    pub sleep: u8,
    /// How long its certificates live.
    pub validity: Duration,
    /// The key id and the HMAC key (base64url) that an account must be bound to.
    pub binding: Option<(String, String)>,
    /// The port on which it listens, if something stands before it.
    pub port: u16,
    /// The port on which it looks for https.
    pub https: u16,
    /// The port on which it looks for plain http.
    pub http: u16,
}

/// A running CA. Its HTTPS certificate is from an authority of its own.
#[derive(Debug)]
pub struct Pebble {
    process: Process,
    api: Authority,
    root_file: PathBuf,
}

impl Default for PebbleConfig {
    fn default() -> Self {
        Self {
            nonces_refused: 0,
            sleep: 0,
            validity: Duration::from_secs(90 * 24 * 3600),
            binding: None,
            port: PORT,
            https: 443,
            http: 80,
        }
    }
}

impl PebbleConfig {
    fn config(&self, dir: &str) -> String {
        let keys: serde_json::Map<_, _> =
            self.binding.iter().map(|(id, key)| (id.clone(), json!(key))).collect();
        json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.port),
            "managementListenAddress": format!("127.0.0.1:{MANAGEMENT}"),
            "certificate": format!("{dir}/pebble.pem"),
            "privateKey": format!("{dir}/pebble.key"),
            "httpPort": self.http,
            "tlsPort": self.https,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": self.binding.is_some(),
            "externalAccountMACKeys": keys,
            "certificateValidityPeriod": self.validity.as_secs(),
        }})
        .to_string()
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("PEBBLE_WFE_NONCEREJECT", self.nonces_refused.to_string()),
            ("PEBBLE_AUTHZREUSE", "0".to_owned()),
        ];
        environment.push(match self.sleep {
            0 => ("PEBBLE_VA_NOSLEEP", "1".to_owned()),
            seconds => ("PEBBLE_VA_SLEEPTIME", seconds.to_string()),
        });
        environment
    }
}

impl Pebble {
    /// Starts one that asks this resolver, with its files and its log in `dir`.
    pub async fn start(
        dir: &std::path::Path,
        resolver: &Resolver,
        pebble_config: &PebbleConfig,
    ) -> Result<Self> {
        let api = Authority::new()?;
        let shown = api.issue(&["localhost"])?;
        let root_file = dir.join("pebble-root.pem");
        std::fs::write(&root_file, api.root())?;
        std::fs::write(dir.join("pebble.pem"), &shown.chain)?;
        std::fs::write(dir.join("pebble.key"), &shown.key)?;
        let config = dir.join("pebble.json");
        std::fs::write(&config, pebble_config.config(dir.to_str().context("a path that is text")?))?;
        let (config, dns) = (config.to_string_lossy(), resolver.address().to_string());
        // `-strict false` with a space would end its flags.
        let args = ["-config", &*config, "-strict=false", "-dnsserver", &dns];
        let mut process =
            Process::start_with("pebble", &args, &pebble_config.environment(), &dir.join("pebble.log"))
                .context("apt-get install pebble")?;
        let client = Client::new(([127, 0, 0, 1], MANAGEMENT).into(), api.root())?;
        eventually("pebble answers", START, async || {
            process.ensure_running()?;
            client.get("localhost", "/roots/0").await?.expect(200)
        })
        .await?;
        Ok(Self { process, api, root_file })
    }

    /// The URL of its directory.
    #[must_use]
    pub fn directory() -> String {
        format!("https://localhost:{PORT}/dir")
    }

    /// The PEM file of the root of its HTTPS certificate.
    #[must_use]
    pub fn root_file(&self) -> &std::path::Path {
        &self.root_file
    }

    /// Who issued its HTTPS certificate.
    #[must_use]
    pub fn api(&self) -> &Authority {
        &self.api
    }

    /// The root of the certificates it issues, PEM; another one after each start.
    pub async fn root(&self) -> Result<String> {
        self.management("/roots/0").await
    }

    /// How many orders were placed, finished or not.
    pub fn orders(&self) -> Result<usize> {
        Ok(self.process.log()?.matches("Added order ").count())
    }

    /// How many certificates it has issued.
    pub fn issued(&self) -> Result<usize> {
        Ok(self.process.log()?.matches("IssuedCertificate certificate serial").count())
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    async fn management(&self, path: &str) -> Result<String> {
        let client = Client::new(([127, 0, 0, 1], MANAGEMENT).into(), self.api.root())?;
        Ok(client.get("localhost", path).await?.expect(200)?.text())
    }
}
