//! The configuration keys with their help and defaults, before validation.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use webgateway_process::settings::{Key, Kind};
use webgateway_proto::httpsig::RequiredComponent;
use webgateway_proto::model::{Host, KeyId, Prefixes};

use super::acme::AcmeSettings;
use super::feed::Feed;

const fn text(path: &'static str, help: &'static str) -> Key {
    Key::new(path, Kind::Text, help)
}

const fn list(path: &'static str, help: &'static str) -> Key {
    Key::new(path, Kind::List, help)
}

const fn number(path: &'static str, help: &'static str) -> Key {
    Key::new(path, Kind::Integer, help)
}

const fn flag(path: &'static str, help: &'static str) -> Key {
    Key::new(path, Kind::Bool, help)
}

pub(super) const KEYS: &[Key] = &[
    text("base_domain", "The gateway's own domain (needed)"),
    list("public_ip", "The gateway's public addresses").live(),
    text("admin_id", "The key id of the admin (admin.pub)"),
    text("log_level", "error, warn, info, debug, trace, or directives (info)").live(),
    text("load_delay", "How long changes are gathered before they are published (20ms)"),
    list("allowed_backends", "Prefixes a backend must be in (400::/7)"),
    list("reserved_subdomains", "Labels below the base domain that no route may have"),
    text("secret_key_file", "The key that seals private keys (secret.key beside the database)"),
    text("admin_listen", "Where metrics and probes are served (127.0.0.1:9181)"),
    text("local_acme", "The directory URL of the CA (Let's Encrypt)"),
    text("local_acme_root", "The root of the CA's own web certificate, PEM (the system's roots)"),
    text("services_storage.module", "sqlite"),
    text("services_storage.db_path", "The database (/var/lib/webgateway/controlplane.db)"),
    text("pub_key_store.module", "directory, or http: a server of keys (directory)").live(),
    text("pub_key_store.path", "The directory of public keys, named by key id (/etc/webgateway/keys)").live(),
    text("pub_key_store.uri", "Where public keys are fetched, such as https://keys.example.com/{id}").live(),
    text("pub_key_store.ttl", "How long a fetched key is good (5m)").live(),
    text("rpc.listen", "Where the API listens (127.0.0.1:8080)"),
    list("rpc.require", "Components that every signature must cover besides, such as @authority (none)"),
    list(
        "feed.listen",
        "Where the dataplanes connect: unix:PATH; ADDRESS:PORT for remote ones (unix:/run/webgateway/feed.sock)",
    ),
    text("feed.address", "Where remote dataplanes find it, HOST:PORT (the address listened on)"),
    text(
        "feed.node_lifetime",
        "How long remote dataplanes' certificates are good; they renew them themselves (30days)",
    ),
    text("feed.ticket_rotation", "How often the nodes' session ticket keys change (6h)"),
    number("quotas.routes", "How many routes each user may have (no limit)").live(),
    number("quotas.backends", "How many backends each user may have, in all routes together (no limit)")
        .live(),
    number("quotas.mutations_per_minute", "How many changes each user may make in a minute (no limit)")
        .live(),
    text("dns.listen", "Where the DNS server listens ([::]:53)"),
    list("dns.resolver", "Name servers to ask about hosts, as address or address:port (those of the system)")
        .live(),
    text("certificates.module", "acme, or internal: a CA of its own, for development (acme)"),
    flag(
        "certificates.preflight",
        "Whether the DNS is asked where a host leads before a CA is; false if you know better (true)",
    )
    .live(),
    text("acme.email", "Where the CA may write to"),
    text("acme.profile", "The profile of the certificates, one of those the CA offers"),
    text("acme.eab_kid", "The key id by which the CA knows us (external account binding)"),
    text("acme.eab_hmac_key", "Its key, base64url; better in the file than in a flag"),
    list("acme.fallback", "Directory URLs of CAs for when the first fails; tables in the file"),
];

/// The values of the configuration keys before validation. [`Config`] is the validated form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub(super) base_domain: Option<Host>,
    pub(super) public_ip: Vec<IpAddr>,
    pub(super) admin_id: KeyId,
    pub(super) log_level: String,
    #[serde(with = "humantime_serde")]
    pub(super) load_delay: Duration,
    pub(super) allowed_backends: Prefixes,
    pub(super) reserved_subdomains: Vec<String>,
    pub(super) secret_key_file: Option<PathBuf>,
    pub(super) admin_listen: SocketAddr,
    pub(super) local_acme: Option<String>,
    pub(super) local_acme_root: Option<PathBuf>,
    pub(super) services_storage: ServicesStorage,
    pub(super) pub_key_store: PubKeyStore,
    pub(super) rpc: Rpc,
    pub(super) feed: Feed,
    pub(super) quotas: Quotas,
    pub(super) dns: Dns,
    pub(super) certificates: Certificates,
    pub(super) acme: AcmeSettings,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ServicesStorage {
    pub(super) module: StorageModule,
    pub(super) db_path: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StorageModule {
    Sqlite,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PubKeyStore {
    pub(super) module: KeyModule,
    pub(super) path: Option<PathBuf>,
    pub(super) uri: Option<String>,
    #[serde(with = "humantime_serde")]
    pub(super) ttl: Option<Duration>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum KeyModule {
    Directory,
    Http,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rpc {
    pub(super) listen: SocketAddr,
    pub(super) require: Vec<RequiredComponent>,
}

/// The default quota of users without a quota of their own.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Quotas {
    pub(super) routes: Option<u32>,
    pub(super) backends: Option<u32>,
    pub(super) mutations_per_minute: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Dns {
    pub(super) listen: SocketAddr,
    pub(super) resolver: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Certificates {
    pub(super) module: CertificateModule,
    pub(super) preflight: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CertificateModule {
    #[default]
    Acme,
    Internal,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base_domain: None,
            public_ip: Vec::new(),
            admin_id: default_admin(),
            log_level: "info".to_owned(),
            load_delay: Duration::from_millis(20),
            allowed_backends: Prefixes::default(),
            reserved_subdomains: Vec::new(),
            secret_key_file: None,
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 9181)),
            local_acme: None,
            local_acme_root: None,
            services_storage: ServicesStorage::default(),
            pub_key_store: PubKeyStore::default(),
            rpc: Rpc::default(),
            feed: Feed::default(),
            quotas: Quotas::default(),
            dns: Dns::default(),
            certificates: Certificates::default(),
            acme: AcmeSettings::default(),
        }
    }
}

impl Default for ServicesStorage {
    fn default() -> Self {
        Self { module: StorageModule::Sqlite, db_path: "/var/lib/webgateway/controlplane.db".into() }
    }
}

impl Default for PubKeyStore {
    fn default() -> Self {
        Self { module: KeyModule::Directory, path: None, uri: None, ttl: None }
    }
}

impl Default for Rpc {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8080)), require: Vec::new() }
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self { module: CertificateModule::default(), preflight: true }
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([0u16; 8], 53)), resolver: Vec::new() }
    }
}

#[expect(clippy::expect_used, reason = "a constant that the tests parse")]
fn default_admin() -> KeyId {
    "admin.pub".parse().expect("a key id")
}
