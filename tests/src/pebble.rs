//! Let's Encrypt's pebble, an ACME CA for tests, in the scenario's namespace.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::authority::Authority;
use crate::client::Client;
use crate::process::Process;
use crate::resolver::Resolver;
use crate::wait::eventually;

/// The port of the ACME API.
pub const PORT: u16 = 14000;
/// The port of the management API.
pub const MANAGEMENT: u16 = 15000;
const START: Duration = Duration::from_secs(20);

/// The configuration of pebble.
#[derive(Debug, Clone)]
pub struct PebbleConfig {
    /// The percentage of valid nonces that are refused.
    pub nonces_refused: u8,
    /// The maximum delay before a challenge is validated, in seconds.
    pub sleep: u8,
    /// The validity period of certificates.
    pub validity: Duration,
    /// The key id and the HMAC key (base64url) that an account must be bound to.
    pub binding: Option<(String, String)>,
    /// The port of the ACME API; another one than [`PORT`] if a proxy is in front.
    pub port: u16,
    /// The port of TLS-ALPN-01 validation.
    pub https: u16,
    /// The port of HTTP-01 validation.
    pub http: u16,
}

/// A running pebble. The certificate of its API is from an authority of its own.
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
    /// Starts pebble with this resolver, and with its files and log in `dir`.
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
        // Go's flag parser would stop at `-strict false` with a space.
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

    /// Returns the URL of the ACME directory.
    #[must_use]
    pub fn directory() -> String {
        format!("https://localhost:{PORT}/dir")
    }

    /// Returns the path of the root of the API's certificate, PEM.
    #[must_use]
    pub fn root_file(&self) -> &std::path::Path {
        &self.root_file
    }

    /// Returns the authority that issued the API's certificate.
    #[must_use]
    pub fn api(&self) -> &Authority {
        &self.api
    }

    /// Returns the root of issued certificates, PEM; it changes with each start.
    pub async fn root(&self) -> Result<String> {
        self.management("/roots/0").await
    }

    /// Returns the number of orders, finished or not.
    pub fn orders(&self) -> Result<usize> {
        Ok(self.process.log()?.matches("Added order ").count())
    }

    /// Returns the number of issued certificates.
    pub fn issued(&self) -> Result<usize> {
        Ok(self.process.log()?.matches("Issued certificate serial").count())
    }

    /// Returns the process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    async fn management(&self, path: &str) -> Result<String> {
        let client = Client::new(([127, 0, 0, 1], MANAGEMENT).into(), self.api.root())?;
        Ok(client.get("localhost", path).await?.expect(200)?.text())
    }
}
