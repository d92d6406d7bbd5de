//! The validated configuration of the controlplane.

mod acme;
mod feed;
mod hosts;
mod keys;
mod route_limits;
mod settings;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use webgateway_process::settings::Program;
use webgateway_proto::httpsig::RequiredComponent;
use webgateway_proto::model::{Host, KeyId, Prefixes, Quota};

pub(crate) use self::acme::{AcmeConfigError, CaConfig};
pub(crate) use self::feed::{FeedAddress, FeedConfig, FeedConfigError};
pub(crate) use self::hosts::{HostsConfig, HostsConfigError};
pub(crate) use self::keys::{KeySource, KeyUri, KeyUriError};
pub(crate) use self::route_limits::{RouteLimitError, RouteLimits, RouteLimitsConfigError};
pub(crate) use self::settings::Settings;
use self::settings::{CertificateModule, KEYS, KeyModule, PubKeyStore, StorageModule};

/// The program and its configuration keys.
pub(crate) const PROGRAM: Program = Program {
    name: "webgateway-controlplane",
    about: "Owns the routes, users and certificates of a webgateway and tells them to its dataplanes",
    keys: KEYS,
    verbs: &[],
};

/// A validated configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The gateway's base domain.
    pub base_domain: Host,
    /// The id of the admin's key.
    pub admin_id: KeyId,
    /// The log level, or log directives.
    pub log_level: String,
    /// The time for which changes are batched before they are published to nodes.
    pub load_delay: Duration,
    /// The prefixes that may contain backends.
    pub allowed_backends: Prefixes,
    /// The reserved labels, and the proof that hosts belong to owners.
    pub hosts: HostsConfig,
    /// The bounds of route options.
    pub route_limits: RouteLimits,
    /// The path of the database.
    pub db_path: PathBuf,
    /// The file of the key that encrypts private keys.
    pub secret_key_file: PathBuf,
    /// The address of the API.
    pub rpc_listen: SocketAddr,
    /// The additional components that every signature must cover.
    pub rpc_require: Vec<RequiredComponent>,
    /// The interval at which the nodes' session ticket keys rotate.
    pub ticket_rotation: Duration,
    /// The listeners for dataplanes.
    pub feed: FeedConfig,
    /// The address of the DNS server.
    pub dns_listen: SocketAddr,
    /// The address of metrics and probes.
    pub admin_listen: SocketAddr,
    /// The ACME CAs in order of preference; empty for the internal CA.
    pub cas: Vec<CaConfig>,
    /// The part that a reload changes, besides the log level.
    pub live: LiveConfig,
}

/// The part of a configuration that a reload changes.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveConfig {
    /// The source of public keys.
    pub keys: KeySource,
    /// The default quota of users. `None` is no limit.
    pub quotas: Quota,
    /// The settings of the preflight check, which looks hosts up in the DNS before a certificate is ordered.
    pub preflight: PreflightConfig,
}

/// The settings of the preflight check, which looks hosts up in the DNS before a certificate is ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreflightConfig {
    /// The name servers to query; empty for those of the system.
    pub resolvers: Vec<SocketAddr>,
    /// The gateway's public addresses; may be empty.
    pub public_ip: Vec<IpAddr>,
    /// False if a certificate is ordered even if the check fails.
    pub is_enforced: bool,
}

/// A configuration is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The base domain is missing.
    #[error("`base_domain` is needed: the domain of this gateway, such as gateway.example.com")]
    NoBaseDomain,
    /// The `[hosts]` section or `reserved_subdomains` is invalid.
    #[error(transparent)]
    Hosts(#[from] HostsConfigError),
    /// The list of prefixes is empty.
    #[error("`allowed_backends` is empty: no route could have a backend; leave it out for 400::/7")]
    NoBackends,
    /// The load delay is too long.
    #[error("`load_delay` must be at most 10 s")]
    LoadDelay,
    /// The ticket rotation is out of bounds.
    #[error(
        "`feed.ticket_rotation` must be from 1 s to 6 h: a stolen key decrypts the sessions of two intervals"
    )]
    TicketRotation,
    /// The log level is empty. Malformed directives are reported when logging starts.
    #[error("`log_level` is empty: use error, warn, info, debug or trace")]
    LogLevel,
    /// The `[feed]` section is invalid.
    #[error(transparent)]
    Feed(#[from] FeedConfigError),
    /// The `[route_limits]` section is invalid.
    #[error(transparent)]
    RouteLimits(#[from] RouteLimitsConfigError),
    /// A name server is not an address.
    #[error("`dns.resolver`: `{0}` is not an address: use one such as 9.9.9.9 or 127.0.0.1:5353")]
    Resolver(String),
    /// A path is empty.
    #[error("`{0}` is empty: a path is needed")]
    EmptyPath(&'static str),
    /// The configuration of a CA is invalid.
    #[error(transparent)]
    Acme(#[from] AcmeConfigError),
    /// The URI of the key server is missing.
    #[error("`pub_key_store.uri` is needed with module = \"http\": such as https://keys.example.com/{{id}}")]
    NoKeyUri,
    /// The URI of the key server is invalid.
    #[error("`pub_key_store.uri`: {0}")]
    KeyUri(#[from] KeyUriError),
    /// The TTL of keys is out of bounds. A long one would delay the revocation of keys.
    #[error("`pub_key_store.ttl` must be from 1s to 24h")]
    KeyTtl,
    /// A configuration key belongs to a module that is not selected.
    #[error("`{key}` belongs to `pub_key_store.module = \"{module}\"`, which is not selected: leave it out")]
    UnusedKey {
        /// The configuration key.
        key: &'static str,
        /// The module to which it belongs.
        module: &'static str,
    },
}

impl Settings {
    /// Validates the configuration. Returns an error for every key that would have no effect.
    pub fn resolve(self) -> Result<Config, ConfigError> {
        let base_domain = self.base_domain.ok_or(ConfigError::NoBaseDomain)?;
        let cas = match self.certificates.module {
            CertificateModule::Acme => self.acme.resolve(self.local_acme, self.local_acme_root)?,
            CertificateModule::Internal => self.acme.reject_all(self.local_acme, self.local_acme_root)?,
        };
        if self.allowed_backends.iter().next().is_none() {
            return Err(ConfigError::NoBackends);
        }
        if self.load_delay > Duration::from_secs(10) {
            return Err(ConfigError::LoadDelay);
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(6 * 3600)).contains(&self.feed.ticket_rotation) {
            return Err(ConfigError::TicketRotation);
        }
        if self.log_level.trim().is_empty() {
            return Err(ConfigError::LogLevel);
        }
        let StorageModule::Sqlite = self.services_storage.module;
        let db_path = present("services_storage.db_path", self.services_storage.db_path)?;
        let beside = db_path.with_file_name("secret.key");
        Ok(Config {
            hosts: self.hosts.resolve(&base_domain, &self.reserved_subdomains)?,
            base_domain,
            admin_id: self.admin_id,
            log_level: self.log_level,
            load_delay: self.load_delay,
            allowed_backends: self.allowed_backends,
            route_limits: self.route_limits.resolve()?,
            secret_key_file: present("secret_key_file", self.secret_key_file.unwrap_or(beside))?,
            db_path,
            rpc_listen: self.rpc.listen,
            rpc_require: self.rpc.require,
            ticket_rotation: self.feed.ticket_rotation,
            feed: self.feed.resolve()?,
            dns_listen: self.dns.listen,
            admin_listen: self.admin_listen,
            cas,
            live: LiveConfig {
                keys: keys(self.pub_key_store)?,
                quotas: self.quotas.into(),
                preflight: PreflightConfig {
                    resolvers: self
                        .dns
                        .resolver
                        .iter()
                        .map(|text| resolver(text))
                        .collect::<Result<_, _>>()?,
                    public_ip: self.public_ip,
                    is_enforced: self.certificates.preflight,
                },
            },
        })
    }
}

impl From<settings::Quotas> for Quota {
    fn from(settings::Quotas { routes, backends, mutations_per_minute }: settings::Quotas) -> Self {
        Self { routes, backends, mutations_per_minute }
    }
}

fn keys(store: PubKeyStore) -> Result<KeySource, ConfigError> {
    let unused = |key, module| Err(ConfigError::UnusedKey { key, module });
    match store.module {
        KeyModule::Directory if store.uri.is_some() => unused("pub_key_store.uri", "http"),
        KeyModule::Directory if store.ttl.is_some() => unused("pub_key_store.ttl", "http"),
        KeyModule::Directory => {
            let path = store.path.unwrap_or_else(|| "/etc/webgateway/keys".into());
            Ok(KeySource::Directory(present("pub_key_store.path", path)?))
        }
        KeyModule::Http if store.path.is_some() => unused("pub_key_store.path", "directory"),
        KeyModule::Http => {
            let uri = store.uri.ok_or(ConfigError::NoKeyUri)?.parse()?;
            let ttl = store.ttl.unwrap_or(Duration::from_secs(300));
            if !(Duration::from_secs(1)..=Duration::from_secs(24 * 3600)).contains(&ttl) {
                return Err(ConfigError::KeyTtl);
            }
            Ok(KeySource::Http { uri, ttl })
        }
    }
}

fn resolver(text: &str) -> Result<SocketAddr, ConfigError> {
    let bare = text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 53));
    bare.or_else(|_| text.parse()).map_err(|_| ConfigError::Resolver(text.to_owned()))
}

fn present(key: &'static str, path: PathBuf) -> Result<PathBuf, ConfigError> {
    if path.as_os_str().is_empty() { Err(ConfigError::EmptyPath(key)) } else { Ok(path) }
}

#[cfg(test)]
mod tests;
