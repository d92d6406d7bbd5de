//! A file that feeds a dataplane without a controlplane.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::authority::IssuedCertificate;

/// The base domain of all scenarios.
pub const BASE_DOMAIN: &str = "gw.example";

/// The content of the file.
#[derive(Debug)]
pub struct FeedFile {
    path: PathBuf,
    version: u64,
    allowed: Vec<String>,
    certificates: Vec<Value>,
    routes: Vec<Value>,
}

impl FeedFile {
    /// Creates a file without routes, with a certificate for the base domain and its wildcard.
    #[must_use]
    pub fn new(path: &Path, base: &IssuedCertificate) -> Self {
        let mut file = Self {
            path: path.to_owned(),
            version: 0,
            allowed: vec!["400::/7".into()],
            certificates: Vec::new(),
            routes: Vec::new(),
        };
        file.add_certificate("*.gw.example", &[BASE_DOMAIN, "*.gw.example"], base);
        file
    }

    /// Adds a certificate.
    pub fn add_certificate(&mut self, id: &str, names: &[&str], issued: &IssuedCertificate) -> &mut Self {
        self.certificates.push(json!({"id": id, "names": names, "chain": issued.chain, "key": issued.key}));
        self
    }

    /// Allows backends in this prefix too.
    pub fn allow_prefix(&mut self, prefix: &str) -> &mut Self {
        self.allowed.push(prefix.to_owned());
        self
    }

    /// Adds a terminated route.
    pub fn add_terminated(&mut self, host: &str, backends: &[SocketAddr]) -> &mut Self {
        self.add_route(host, "terminate", backends)
    }

    /// Adds a passthrough route.
    pub fn add_passthrough(&mut self, host: &str, backends: &[SocketAddr]) -> &mut Self {
        self.add_route(host, "passthrough", backends)
    }

    fn add_route(&mut self, host: &str, mode: &str, backends: &[SocketAddr]) -> &mut Self {
        let backends: Vec<_> = backends.iter().map(SocketAddr::to_string).collect();
        self.routes.push(json!({
            "id": Uuid::now_v7(), "host": host, "mode": mode, "balance": "round_robin", "backends": backends,
        }));
        self
    }

    /// Removes the route of this host.
    pub fn remove_route(&mut self, host: &str) -> &mut Self {
        self.routes.retain(|route| route["host"] != host);
        self
    }

    /// Replaces the backends of this host's route; its id stays.
    pub fn set_backends(&mut self, host: &str, backends: &[SocketAddr]) -> &mut Self {
        for route in self.routes.iter_mut().filter(|route| route["host"] == host) {
            route["backends"] = backends.iter().map(SocketAddr::to_string).collect();
        }
        self
    }

    /// Sets the balancing policy of this host's route.
    pub fn set_balance(&mut self, host: &str, balance: &str) -> &mut Self {
        for route in self.routes.iter_mut().filter(|route| route["host"] == host) {
            route["balance"] = balance.into();
        }
        self
    }

    /// Sets options of this host's route, given as a JSON object.
    pub fn set_options(&mut self, host: &str, options: &Value) -> &mut Self {
        for route in self.routes.iter_mut().filter(|route| route["host"] == host) {
            for (name, value) in options.as_object().into_iter().flatten() {
                route[name] = value.clone();
            }
        }
        self
    }

    /// Sets the health check of this host's route.
    pub fn set_health_check(&mut self, host: &str, check: Value) -> &mut Self {
        for route in self.routes.iter_mut().filter(|route| route["host"] == host) {
            route["health"] = check.clone();
        }
        self
    }

    /// Sets an option of this host's route.
    pub fn set_option(&mut self, host: &str, option: &str, value: Value) -> &mut Self {
        for route in self.routes.iter_mut().filter(|route| route["host"] == host) {
            route[option] = value.clone();
        }
        self
    }

    /// Writes the file as the next version.
    pub fn write(&mut self) -> Result<&Path> {
        self.version += 1;
        let content = json!({
            "version": self.version,
            "settings": {"base_domain": BASE_DOMAIN, "allowed_backends": self.allowed},
            "certificates": self.certificates,
            "routes": self.routes,
        });
        // The rename is atomic, so that a reader sees the old file or the new one.
        let unfinished = self.path.with_extension("new");
        std::fs::write(&unfinished, content.to_string())?;
        std::fs::rename(&unfinished, &self.path)?;
        Ok(&self.path)
    }
}
