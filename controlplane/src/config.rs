//! The configuration: what the keys mean, and what this build refuses.

mod acme;
mod feed;
mod keys;
mod settings;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use webgateway_process::settings::Program;
use webgateway_proto::httpsig::RequiredComponent;
use webgateway_proto::model::{Host, InvalidHostError, KeyId, Prefixes, Quota};

pub(crate) use self::acme::{AcmeConfigError, CaConfig};
pub(crate) use self::feed::{FeedAddress, FeedConfig, FeedConfigError};
pub(crate) use self::keys::{KeySource, KeyUri, KeyUriError};
pub(crate) use self::settings::Settings;
use self::settings::{CertificateModule, KEYS, KeyModule, PubKeyStore, StorageModule};

/// The program and its keys.
pub(crate) const PROGRAM: Program = Program {
    name: "webgateway-controlplane",
    about: "Owns the routes, users and certificates of a webgateway and tells them to its dataplanes",
    keys: KEYS,
    verbs: &[],
};

/// A configuration that can be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The operator's domain.
    pub base_domain: Host,
    /// The key that may do everything.
    pub admin_id: KeyId,
    /// The log level, or directives.
    pub log_level: String,
    /// The time for which changes are gathered before they are published.
    pub load_delay: Duration,
    /// The prefixes that backends may be in.
    pub allowed_backends: Prefixes,
    /// Labels below the base domain that no route may have, lower case.
    pub reserved_subdomains: BTreeSet<String>,
    /// The database.
    pub db_path: PathBuf,
    /// The key that seals private keys.
    pub secret_key_file: PathBuf,
    /// The address of the API.
    pub rpc_listen: SocketAddr,
    /// The components that every signature must cover besides.
    pub rpc_require: Vec<RequiredComponent>,
    /// The interval at which the nodes' session ticket keys change.
    pub ticket_rotation: Duration,
    /// The listeners for dataplanes.
    pub feed: FeedConfig,
    /// The address of the DNS server.
    pub dns_listen: SocketAddr,
    /// The address of metrics and probes.
    pub admin_listen: SocketAddr,
    /// The CAs, the first one first; none means the internal one.
    pub cas: Vec<CaConfig>,
    /// The part that a reload changes, besides the log level.
    pub live: Live,
}

/// The part of a configuration that a reload changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    /// The source of public keys.
    pub keys: KeySource,
    /// The default quota of each user; an absent limit is none.
    pub quotas: Quota,
    /// The facts that hosts are looked up by before a CA is asked.
    pub lookup: Lookup,
}

/// The facts that hosts are looked up by before a CA is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// Name servers to ask about hosts; with none, those of the system.
    pub resolvers: Vec<SocketAddr>,
    /// The gateway's public addresses; may be none.
    pub public_ip: Vec<IpAddr>,
    /// False if a CA is asked wherever a host leads.
    pub preflight: bool,
}

/// Keys that are well-formed and yet cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// There is no base domain.
    #[error("`base_domain` is needed: the domain of this gateway, such as gateway.example.com")]
    NoBaseDomain,
    /// A reserved subdomain is no label.
    #[error("`reserved_subdomains`: `{0}` is not a label below the base domain: {1}")]
    Reserved(String, InvalidHostError),
    /// The list of prefixes is empty.
    #[error("`allowed_backends` is empty: no route could lead anywhere; leave it out for 400::/7")]
    NoBackends,
    /// The load delay is too long.
    #[error("`load_delay` is over 10 s: routes would come too late")]
    LoadDelay,
    /// The ticket rotation is out of bounds.
    #[error(
        "`feed.ticket_rotation` must be from 1 s to 6 h: a stolen key opens the sessions of two rotations"
    )]
    TicketRotation,
    /// The log level is empty; one that does not parse is found when logging starts.
    #[error("`log_level` is empty: use error, warn, info, debug or trace")]
    LogLevel,
    /// The feed cannot be run.
    #[error(transparent)]
    Feed(#[from] FeedConfigError),
    /// A name server is no address.
    #[error("`dns.resolver`: `{0}` is not an address: use such as 9.9.9.9 or 127.0.0.1:5353")]
    Resolver(String),
    /// A path is empty.
    #[error("`{0}` is empty: a path is needed")]
    EmptyPath(&'static str),
    /// A CA cannot be used as it is described.
    #[error(transparent)]
    Acme(#[from] AcmeConfigError),
    /// The key server has no address.
    #[error("`pub_key_store.uri` is needed with module = \"http\": such as https://keys.example.com/{{id}}")]
    NoKeyUri,
    /// The key server's address is malformed.
    #[error("`pub_key_store.uri`: {0}")]
    KeyUri(#[from] KeyUriError),
    /// The time is none, or so long that no key could be taken back.
    #[error("`pub_key_store.ttl` is from 1s to 24h")]
    KeyTtl,
    /// A key belongs to another module than the one chosen.
    #[error("`{key}` belongs to `pub_key_store.module = \"{module}\"`, which was not chosen: leave it out")]
    Useless {
        /// The key.
        key: &'static str,
        /// Its module.
        module: &'static str,
    },
}

impl Settings {
    /// Returns what the keys mean; refuses what this build cannot do rather than ignoring it.
    pub fn resolve(self) -> Result<Config, ConfigError> {
        let base_domain = self.base_domain.ok_or(ConfigError::NoBaseDomain)?;
        let cas = match self.certificates.module {
            CertificateModule::Acme => self.acme.resolve(self.local_acme, self.local_acme_root)?,
            CertificateModule::Internal => self.acme.refuse(self.local_acme, self.local_acme_root)?,
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
            reserved_subdomains: reserved(&base_domain, &self.reserved_subdomains)?,
            base_domain,
            admin_id: self.admin_id,
            log_level: self.log_level,
            load_delay: self.load_delay,
            allowed_backends: self.allowed_backends,
            secret_key_file: present("secret_key_file", self.secret_key_file.unwrap_or(beside))?,
            db_path,
            rpc_listen: self.rpc.listen,
            rpc_require: self.rpc.require,
            ticket_rotation: self.feed.ticket_rotation,
            feed: self.feed.resolve()?,
            dns_listen: self.dns.listen,
            admin_listen: self.admin_listen,
            cas,
            live: Live {
                keys: keys(self.pub_key_store)?,
                quotas: self.quotas.into(),
                lookup: Lookup {
                    resolvers: self
                        .dns
                        .resolver
                        .iter()
                        .map(|text| resolver(text))
                        .collect::<Result<_, _>>()?,
                    public_ip: self.public_ip,
                    preflight: self.certificates.preflight,
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
    let useless = |key, module| Err(ConfigError::Useless { key, module });
    match store.module {
        KeyModule::Directory if store.uri.is_some() => useless("pub_key_store.uri", "http"),
        KeyModule::Directory if store.ttl.is_some() => useless("pub_key_store.ttl", "http"),
        KeyModule::Directory => {
            let path = store.path.unwrap_or_else(|| "/etc/webgateway/keys".into());
            Ok(KeySource::Directory(present("pub_key_store.path", path)?))
        }
        KeyModule::Http if store.path.is_some() => useless("pub_key_store.path", "directory"),
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

fn reserved(base: &Host, labels: &[String]) -> Result<BTreeSet<String>, ConfigError> {
    let one = |label: &String| match base.child(label) {
        Ok(host) => Ok(host.as_str().split('.').next().unwrap_or_default().to_owned()),
        Err(error) => Err(ConfigError::Reserved(label.clone(), error)),
    };
    labels.iter().map(one).collect()
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
