//! The files of `make dev` in `target/dev` (with ACME in `target/dev-acme`, until the next start): configurations,
//! keys, the database, certificates, logs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::ServerConfig;
use webgateway_tests::authority::Authority;
use webgateway_tests::pebble::Pebble;

use crate::ports::{ADMIN, CONTROL_ADMIN, DNS, HTTP, HTTPS, RESOLVER, RPC};

/// The operator's domain; browsers and systemd-resolved lead every name below `localhost` to loopback.
pub(crate) const BASE_DOMAIN: &str = "gw.localhost";
/// The host of the terminated route.
pub(crate) const TERMINATED: &str = "hello.gw.localhost";
/// The host of the passthrough route.
pub(crate) const PASSTHROUGH: &str = "pass.gw.localhost";

/// The directory of `make dev`.
#[derive(Debug)]
pub(crate) struct State {
    dir: PathBuf,
    acme: bool,
}

impl State {
    /// Opens or creates the directory, and writes both configurations.
    pub(crate) fn open(acme: bool) -> Result<Self> {
        let state = Self { dir: PathBuf::from(if acme { "target/dev-acme" } else { "target/dev" }), acme };
        // The CA loses its state when it stops, so that its certificates are useless.
        if acme && state.dir.exists() {
            fs::remove_dir_all(&state.dir)?;
        }
        fs::create_dir_all(state.path("keys")).context("run it from the root of the project")?;
        fs::write(state.path("controlplane.toml"), state.controlplane())?;
        fs::write(state.path("dataplane.toml"), state.dataplane())?;
        Ok(state)
    }

    /// Returns a path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Returns true if certificates come from a CA over ACME.
    pub(crate) fn is_acme(&self) -> bool {
        self.acme
    }

    /// Returns the directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the name of the file with the root of the certificates.
    pub(crate) fn root(&self) -> &'static str {
        if self.acme { "acme-ca.pem" } else { "internal-ca.pem" }
    }

    /// Returns a path in the directory as text.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Creates the certificate of the passthrough backend and writes its root to `backend-ca.pem`, at each start, as
    /// existing files may be of another build.
    pub(crate) fn backend_tls(&self) -> Result<Arc<ServerConfig>> {
        let authority = Authority::new()?;
        fs::write(self.path("backend-ca.pem"), authority.root())?;
        authority.issue(&[PASSTHROUGH])?.server(&["http/1.1"])
    }

    fn controlplane(&self) -> String {
        let dir = self.dir.display();
        let (ca, resolver, module) = if self.acme {
            let directory = Pebble::directory();
            let ca = format!("local_acme = \"{directory}\"\nlocal_acme_root = \"{dir}/pebble-root.pem\"\n");
            (ca, format!("resolver = [\"127.0.0.1:{RESOLVER}\"]\n"), "acme")
        } else {
            (String::new(), String::new(), "internal")
        };
        format!(
            r#"# Written by `make dev`.
base_domain = "{BASE_DOMAIN}"
public_ip = "127.0.0.1"
# The sample backends are on loopback; without this line only the overlay is allowed.
allowed_backends = ["400::/7", "127.0.0.0/8"]
admin_listen = "127.0.0.1:{CONTROL_ADMIN}"
{ca}
[services_storage]
module = "sqlite"
db_path = "{dir}/gateway.db"

[pub_key_store]
module = "directory"
path = "{dir}/keys"

[rpc]
listen = "127.0.0.1:{RPC}"

[feed]
listen = "unix:{dir}/feed.sock"

[dns]
listen = "127.0.0.1:{DNS}"
{resolver}
# Hosts outside the base domain need no proof here. Elsewhere, they do.
[hosts]
proof = "none"

[certificates]
module = "{module}"
"#
        )
    }

    fn dataplane(&self) -> String {
        let dir = self.dir.display();
        format!(
            r#"# Written by `make dev`.
node = "dev"
listen = ["127.0.0.1"]
https_port = {HTTPS}
http_port = {HTTP}
admin_listen = "127.0.0.1:{ADMIN}"

[feed]
endpoint = "unix:{dir}/feed.sock"

[limits]
drain = "2s"
"#
        )
    }
}

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
