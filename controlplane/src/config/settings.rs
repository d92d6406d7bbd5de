//! The configuration keys with their help and defaults, before validation.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use webgateway_process::settings::Key;
use webgateway_proto::httpsig::RequiredComponent;
use webgateway_proto::model::{Host, KeyId, Prefixes};

use super::acme::AcmeSettings;
use super::feed::Feed;
use super::hosts::{self, HostSettings};
use super::route_limits::RouteLimitSettings;

pub(super) const KEYS: &[Key] = &[
    Key::text(
        "base_domain",
        "The gateway's own domain. Subdomain routes live below it, and the API is at https://BASE_DOMAIN/rpc [required]",
    ),
    Key::list(
        "public_ip",
        "The gateway's public IPv4 and IPv6 addresses. Before a certificate is requested for a host, its DNS is compared with them [default: none]",
    ).live(),
    Key::text("admin_id", "The key id of the admin, who may call every method [default: admin.pub]"),
    Key::text(
        "log_level",
        "The log level: error, warn, info, debug or trace; or directives, such as info,webgateway_controlplane=debug [default: info]",
    ).live(),
    Key::duration(
        "load_delay",
        "How long changes are gathered before they are sent to the dataplanes together, at most 10s [default: 20ms]",
    ),
    Key::list("allowed_backends", "The prefixes that every backend's address must be in [default: 400::/7]"),
    Key::list(
        "reserved_subdomains",
        "More labels below the base domain that only the admin may use, in addition to hosts.reserved [default: none]",
    ),
    hosts::PROOF,
    hosts::RESERVED,
    hosts::CLAIM_TTL,
    hosts::MAX_CLAIMS,
    Key::file(
        "secret_key_file",
        "The file of the key that seals private keys in the database. It is created at the first start [default: secret.key beside the database]",
    ),
    Key::address(
        "admin_listen",
        "The address of metrics (/metrics) and readiness (/readyz) [default: 127.0.0.1:9181]",
    ),
    Key::text("local_acme", "The directory URL of the ACME CA [default: Let's Encrypt]"),
    Key::file(
        "local_acme_root",
        "A PEM file with the root certificate of the CA's own web server [default: the system's roots]",
    ),
    Key::text("services_storage.module", "The kind of database; sqlite is the only one [default: sqlite]"),
    Key::file(
        "services_storage.db_path",
        "The SQLite database [default: /var/lib/webgateway/controlplane.db]",
    ),
    Key::text(
        "pub_key_store.module",
        "Where the users' public keys are: directory, or http for a key server [default: directory]",
    ).live(),
    Key::file(
        "pub_key_store.path",
        "For module directory: the directory of public keys, ed25519 or RSA, in PEM, DER, OpenSSH, RFC 4716 or raw base64. A file's name is the key id [default: /etc/webgateway/keys]",
    ).live(),
    Key::text(
        "pub_key_store.uri",
        "For module http: the URL of a public key, with {id} in place of the key id. It must be https, or http on loopback; redirects are not followed [default: none]",
    ).live(),
    Key::duration(
        "pub_key_store.ttl",
        "For module http: how long a fetched key is used before it is fetched again, from 1s to 24h. While the key server cannot be reached, the last answer is used for up to a day [default: 5m]",
    ).live(),
    Key::address(
        "rpc.listen",
        "The address of the API on this machine; from outside, the API is reached through a dataplane [default: 127.0.0.1:8080]",
    ),
    Key::list(
        "rpc.require",
        "Components that every request's signature must cover in addition to the mandatory ones, such as @authority [default: none]",
    ),
    Key::list(
        "feed.listen",
        "Where dataplanes connect: unix:PATH for those on this machine, ADDRESS:PORT with mutual TLS for remote ones [default: unix:/run/webgateway/feed.sock]",
    ),
    Key::text(
        "feed.address",
        "The HOST:PORT at which remote dataplanes reach the feed; join tokens contain it [default: the address in feed.listen]",
    ),
    Key::duration(
        "feed.node_lifetime",
        "The lifetime of a remote dataplane's certificate, from 5s to 366days. The dataplane renews it after two thirds of that time [default: 30days]",
    ),
    Key::duration(
        "feed.ticket_rotation",
        "How often the keys of TLS session tickets change, from 1s to 6h [default: 6h]",
    ),
    Key::number(
        "quotas.routes",
        "How many routes each user may have, unless `gwctl admin quota` sets another number [default: no limit]",
    ).live(),
    Key::number(
        "quotas.backends",
        "How many backends each user may have in all routes together, unless `gwctl admin quota` sets another number [default: no limit]",
    ).live(),
    Key::number(
        "quotas.mutations_per_minute",
        "How many changes each user may make per minute, unless `gwctl admin quota` sets another number [default: no limit]",
    ).live(),
    Key::duration(
        "route_limits.max_timeout",
        "The maximum of each timeout that a route may have, from 10ms to 24h. A longer one of an existing route is shortened on the nodes [default: 24h]",
    ),
    Key::number(
        "route_limits.max_attempts",
        "The maximum number of attempts to forward a request that a route may have, from 1 to 10. A larger number of an existing route is reduced on the nodes [default: 5]",
    ),
    Key::number(
        "route_limits.max_body",
        "The maximum size of request bodies in bytes, which is also that of routes without the option `max_body` [default: no limit]",
    ),
    Key::address(
        "dns.listen",
        "The address of the DNS server, which answers for _acme-challenge.BASE_DOMAIN alone [default: [::]:53]",
    ),
    Key::list(
        "dns.resolver",
        "Name servers that are asked where hosts lead, each ADDRESS or ADDRESS:PORT [default: those of the system]",
    ).live(),
    Key::text(
        "certificates.module",
        "Who issues certificates: acme, or internal for a development CA inside the controlplane [default: acme]",
    ),
    Key::bool(
        "certificates.preflight",
        "Whether a host's DNS is checked before the CA is asked. With false the CA is asked in any case; it may refuse, and limits how often it can be asked [default: true]",
    ).live(),
    Key::text("acme.email", "An e-mail address that the CA may write to [default: none]"),
    Key::text(
        "acme.profile",
        "The certificate profile to request, one of those the CA offers [default: none]",
    ),
    Key::text(
        "acme.eab_kid",
        "The key id of the external account binding, for a CA that needs one [default: none]",
    ),
    Key::text(
        "acme.eab_hmac_key",
        "The HMAC key of the external account binding, base64url. Set it in the file: other processes can see a flag [default: none]",
    ),
    Key::list(
        "acme.fallback",
        "Directory URLs of CAs to use when the first one fails. In the file it may be tables instead, [[acme.fallback]] with directory, root, email, profile, eab_kid and eab_hmac_key [default: none]",
    ),
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
    pub(super) hosts: HostSettings,
    pub(super) quotas: Quotas,
    pub(super) route_limits: RouteLimitSettings,
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
            hosts: HostSettings::default(),
            quotas: Quotas::default(),
            route_limits: RouteLimitSettings::default(),
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
