//! Tests of the configuration keys: defaults, values, errors, and reload.

use std::ffi::OsString;

use webgateway_process::settings::{SettingsError, from_sources, renew_reference};

use super::*;

fn read(args: &[&str]) -> Result<Settings, SettingsError> {
    let args = std::iter::once("webgateway-controlplane").chain(args.iter().copied()).map(OsString::from);
    from_sources(&PROGRAM, args, &|_| None).map(|invocation| invocation.settings)
}

fn resolve(more: &[&str]) -> Result<Config, ConfigError> {
    let base = ["--base-domain", "GW.example", "--certificates-module", "internal"];
    read(&[&base[..], more].concat()).unwrap().resolve()
}

#[test]
fn the_defaults_are_as_documented() {
    let config = resolve(&[]).unwrap();
    assert_eq!(config.base_domain.as_str(), "gw.example");
    assert_eq!(config.admin_id.as_str(), "admin.pub");
    assert_eq!(config.load_delay, Duration::from_millis(20));
    assert_eq!(config.allowed_backends, Prefixes::default());
    assert_eq!(config.rpc_listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.dns_listen.to_string(), "[::]:53");
    assert_eq!(config.feed.listen, [FeedAddress::Unix("/run/webgateway/feed.sock".into())]);
    assert_eq!(config.feed.node_lifetime, Duration::from_secs(30 * 24 * 3600));
    assert_eq!(config.secret_key_file.to_str(), Some("/var/lib/webgateway/secret.key"));
    assert_eq!(config.live.quotas, Quota::default(), "no limits");
    assert_eq!(config.route_limits, RouteLimits::default());
}

#[test]
fn the_defaults_match_the_help() {
    for key in KEYS {
        let Some(default) = key.default_value() else {
            let has_default = key.help.ends_with(" [required]") || key.help.contains(" [default: ");
            assert!(has_default, "{}", key.path);
            continue;
        };
        let base: &[&str] = match key.path {
            "pub_key_store.ttl" => {
                &["--pub-key-store-module=http", "--pub-key-store-uri=https://k.example/{id}"]
            }
            _ => &[],
        };
        let resolve = |more: &[&str]| {
            read(&[&["--base-domain=gw.example"], base, more].concat()).unwrap().resolve().unwrap()
        };
        assert_eq!(resolve(&[&key.flag(), default]), resolve(&[]), "{}: {default}", key.path);
    }
}

/// Compares the reference with the code. `UPDATE=1 cargo test -p webgateway-controlplane reference` writes it.
#[test]
fn the_configuration_reference_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap();
    let renewed = renew_reference(&page, &PROGRAM);
    let renewed = renewed.expect("a part about this program");
    if std::env::var_os("UPDATE").is_some() {
        return std::fs::write(path, renewed).unwrap();
    }
    let update = "UPDATE=1 cargo test -p webgateway-controlplane reference";
    assert!(
        page == renewed,
        "docs/configuration.md is out of date; if the change is intended, run: {update}"
    );
}

#[test]
fn every_key_can_be_set() {
    let config = resolve(&[
        "--public-ip=192.0.2.1,2001:db8::1",
        "--admin-id=root.pub",
        "--log-level=debug",
        "--load-delay=1s",
        "--allowed-backends=400::/7,127.0.0.0/8",
        "--reserved-subdomains=WWW,api",
        "--services-storage-module=sqlite",
        "--services-storage-db-path=x/y.db",
        "--pub-key-store-module=directory",
        "--pub-key-store-path=keys",
        "--rpc-listen=[::1]:0",
        "--rpc-require=@authority,date",
        "--feed-listen=unix:feed.sock,[::]:7443",
        "--feed-address=control.example.com:7443",
        "--feed-node-lifetime=7days",
        "--quotas-routes=10",
        "--quotas-backends=20",
        "--quotas-mutations-per-minute=30",
        "--route-limits-max-timeout=1m",
        "--route-limits-max-attempts=3",
        "--route-limits-max-body=1048576",
        "--dns-listen=127.0.0.1:5353",
        "--dns-resolver=9.9.9.9,127.0.0.1:8053,::1",
        "--admin-listen=127.0.0.1:0",
    ])
    .unwrap();
    assert_eq!(config.live.preflight.public_ip.len(), 2);
    assert_eq!(config.rpc_require, ["@authority", "date"].map(|name| name.parse().unwrap()));
    let quotas = config.live.quotas;
    assert_eq!((quotas.routes, quotas.backends, quotas.mutations_per_minute), (Some(10), Some(20), Some(30)));
    let RouteLimits { max_timeout, max_attempts, max_body } = config.route_limits;
    assert_eq!((max_timeout.duration(), max_attempts.get()), (Duration::from_secs(60), 3));
    assert_eq!(max_body.map(u64::from), Some(1_048_576));
    assert_eq!(
        config.live.preflight.resolvers,
        ["9.9.9.9:53", "127.0.0.1:8053", "[::1]:53"].map(|a| a.parse().unwrap())
    );
    assert!(["api", "www"].iter().all(|label| config.hosts.reserved.contains(*label)));
    assert_eq!(config.secret_key_file.to_str(), Some("x/secret.key"));
    let tcp = FeedAddress::Tcp("[::]:7443".parse().unwrap());
    assert_eq!(config.feed.listen, [FeedAddress::Unix("feed.sock".into()), tcp]);
    assert_eq!(config.feed.address.unwrap().to_string(), "control.example.com:7443");
    assert_eq!(config.live.keys, KeySource::Directory("keys".into()));
    let uri = "--pub-key-store-uri=https://k.example/{id}";
    let config = resolve(&["--pub-key-store-module=http", uri, "--pub-key-store-ttl=1m"]).unwrap();
    let uri = "https://k.example/{id}".parse().unwrap();
    assert_eq!(config.live.keys, KeySource::Http { uri, ttl: Duration::from_secs(60) });
}

#[test]
fn invalid_values_are_refused_with_the_name_of_the_key() {
    for (flags, key) in [
        (&["--feed-listen=feed.example"][..], "`feed.listen`"),
        (&["--feed-listen="], "`feed.listen`"),
        (&["--feed-node-lifetime=1s"], "`feed.node_lifetime`"),
        (&["--route-limits-max-timeout=1ms"], "`route_limits.max_timeout`"),
        (&["--route-limits-max-timeout=2days"], "`route_limits.max_timeout`"),
        (&["--route-limits-max-attempts=0"], "`route_limits.max_attempts`"),
        (&["--route-limits-max-attempts=11"], "`route_limits.max_attempts`"),
        (&["--route-limits-max-body=0"], "`route_limits.max_body`"),
        (&["--pub-key-store-module=http"][..], "`pub_key_store.uri`"),
        (
            &["--pub-key-store-module=http", "--pub-key-store-uri=http://k.example/{id}"],
            "`pub_key_store.uri`",
        ),
        (
            &[
                "--pub-key-store-module=http",
                "--pub-key-store-uri=https://k.example/{id}",
                "--pub-key-store-ttl=0s",
            ],
            "`pub_key_store.ttl`",
        ),
        (&["--pub-key-store-module=http", "--pub-key-store-path=keys"], "`pub_key_store.path`"),
        (&["--feed-listen=unix:"], "`feed.listen`"),
        (&["--dns-resolver=dns.example"], "`dns.resolver`"),
        (&["--feed-listen=feed.sock"], "`feed.listen`"),
        (&["--local-acme=https://ca.example/dir"], "`local_acme`"),
        (&["--local-acme-root=root.pem"], "`local_acme_root`"),
        (&["--acme-email=a@b.c"], "`acme.email`"),
        (&["--acme-eab-kid=x"], "`acme.eab_kid`"),
        (&["--acme-fallback=https://ca.example/dir"], "`acme.fallback`"),
        (&["--certificates-module=acme", "--local-acme=http://ca.example/dir"], "`local_acme`"),
        (&["--certificates-module=acme", "--acme-email=nobody"], "`acme.email`"),
        (&["--certificates-module=acme", "--acme-eab-kid=x"], "`acme.eab_hmac_key`"),
        (&["--certificates-module=acme", "--acme-eab-kid=x", "--acme-eab-hmac-key=%"], "`acme.eab_hmac_key`"),
        (&["--certificates-module=acme", "--acme-fallback=ftp://x"], "`acme.fallback`"),
        (&["--pub-key-store-ttl=1h"], "`pub_key_store.ttl`"),
        (&["--reserved-subdomains=a.b"], "`reserved_subdomains`"),
        (&["--hosts-reserved=a.b"], "`hosts.reserved`"),
        (&["--hosts-claim-ttl=0s"], "`hosts.claim_ttl`"),
        (&["--hosts-claim-ttl=400days"], "`hosts.claim_ttl`"),
        (&["--allowed-backends="], "`allowed_backends`"),
        (&["--load-delay=1h"], "`load_delay`"),
        (&["--services-storage-db-path="], "`services_storage.db_path`"),
        (&["--log-level= "], "`log_level`"),
    ] {
        let base: &[&str] =
            if flags[0].starts_with("--certificates") { &[] } else { &["--certificates-module=internal"] };
        let args = [&["--base-domain=gw.example"][..], base, flags].concat();
        let refused = read(&args).unwrap().resolve().unwrap_err().to_string();
        assert!(refused.starts_with(key), "{flags:?}: {refused}");
    }
    let refused = read(&["--certificates-module=internal"]).unwrap().resolve();
    assert_eq!(refused, Err(ConfigError::NoBaseDomain));
}

#[test]
fn cas_keep_their_order_and_debug_output_hides_secrets() {
    let args = |flags: &[&str]| {
        let base = ["--base-domain=gw.example"];
        read(&[&base[..], flags].concat()).unwrap().resolve().unwrap().cas
    };
    let cas = args(&[]);
    assert_eq!(cas.len(), 1);
    assert!(cas[0].directory.contains("letsencrypt.org"));
    let cas = args(&[
        "--local-acme=https://localhost:14000/dir",
        "--local-acme-root=root.pem",
        "--acme-email=ops@gw.example",
        "--acme-profile=shortlived",
        "--acme-eab-kid=kid-1",
        "--acme-eab-hmac-key=c2VzYW1l",
        "--acme-fallback=https://two.example/dir,https://three.example/dir",
    ]);
    let directories: Vec<&str> = cas.iter().map(|ca| ca.directory.as_str()).collect();
    assert_eq!(
        directories,
        ["https://localhost:14000/dir", "https://two.example/dir", "https://three.example/dir"]
    );
    assert_eq!(cas[1].email.as_deref(), Some("ops@gw.example"));
    assert_eq!(cas[0].eab.as_ref().unwrap().hmac_key.as_slice(), b"sesame");
    let shown = format!("{cas:?}");
    assert!(shown.contains("kid-1") && !shown.contains("115") && !shown.contains("sesame"), "{shown}");
}

#[test]
fn malformed_values_are_refused() {
    for flag in [
        "--base-domain=localhost",
        "--public-ip=x",
        "--admin-id=../x",
        "--load-delay=fast",
        "--allowed-backends=400::/999",
        "--services-storage-module=postgres",
        "--rpc-listen=8080",
        "--certificates-module=none",
    ] {
        assert!(matches!(read(&[flag]), Err(SettingsError::Value(_))), "{flag}");
    }
}

#[test]
fn every_key_is_applied_by_a_reload_or_needs_a_restart() {
    for key in KEYS {
        let (before, after) = changed(key.path);
        let [running, changed] = [before, after].map(|flags| {
            let base = if flags.iter().any(|flag| flag.contains("base-domain")) {
                ""
            } else {
                "--base-domain=gw.example"
            };
            let flags: Vec<&str> =
                flags.iter().copied().chain([base]).filter(|flag| !flag.is_empty()).collect();
            read(&flags).unwrap().resolve().unwrap()
        });
        // There is only one module.
        assert_eq!(running == changed, key.path == "services_storage.module", "{}", key.path);
        let Config { log_level, live, .. } = changed.clone();
        let reloaded = Config { log_level, live, ..running };
        let message = format!("`{}` is live, or needs a restart", key.path);
        assert_eq!(reloaded == changed, key.is_live || key.path == "services_storage.module", "{message}");
    }
}

/// Returns two lists of flags that differ only in the value of a key. Panics for a key without a sample.
fn changed(key: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match key {
        "base_domain" => (&["--base-domain=a.example"], &["--base-domain=b.example"]),
        "public_ip" => (&[], &["--public-ip=192.0.2.1"]),
        "admin_id" => (&[], &["--admin-id=root.pub"]),
        "log_level" => (&[], &["--log-level=debug"]),
        "load_delay" => (&[], &["--load-delay=1s"]),
        "allowed_backends" => (&[], &["--allowed-backends=500::/16"]),
        "reserved_subdomains" => (&[], &["--reserved-subdomains=shop"]),
        "secret_key_file" => (&[], &["--secret-key-file=key"]),
        "admin_listen" => (&[], &["--admin-listen=127.0.0.1:1"]),
        "local_acme" => (&[], &["--local-acme=https://ca.example/dir"]),
        "local_acme_root" => (&[], &["--local-acme-root=root.pem"]),
        "services_storage.module" => (&[], &["--services-storage-module=sqlite"]),
        "services_storage.db_path" => {
            (&["--secret-key-file=key"], &["--secret-key-file=key", "--services-storage-db-path=x.db"])
        }
        key if key.starts_with("pub_key_store.") => changed_key_store(key),
        "rpc.listen" => (&[], &["--rpc-listen=127.0.0.1:1"]),
        "rpc.require" => (&[], &["--rpc-require=date"]),
        "feed.listen" => (&[], &["--feed-listen=unix:feed.sock"]),
        "feed.address" => (&[], &["--feed-address=control.example.com:7443"]),
        "feed.node_lifetime" => (&[], &["--feed-node-lifetime=7days"]),
        "feed.ticket_rotation" => (&[], &["--feed-ticket-rotation=1h"]),
        "quotas.routes" => (&[], &["--quotas-routes=1"]),
        "quotas.backends" => (&[], &["--quotas-backends=1"]),
        "quotas.mutations_per_minute" => (&[], &["--quotas-mutations-per-minute=1"]),
        "route_limits.max_timeout" => (&[], &["--route-limits-max-timeout=1m"]),
        "route_limits.max_attempts" => (&[], &["--route-limits-max-attempts=3"]),
        "route_limits.max_body" => (&[], &["--route-limits-max-body=1048576"]),
        "dns.listen" => (&[], &["--dns-listen=127.0.0.1:1"]),
        "dns.resolver" => (&[], &["--dns-resolver=9.9.9.9"]),
        "certificates.module" => (&[], &["--certificates-module=internal"]),
        "certificates.preflight" => (&[], &["--certificates-preflight=false"]),
        "acme.email" => (&[], &["--acme-email=ops@gw.example"]),
        "acme.profile" => (&[], &["--acme-profile=shortlived"]),
        "acme.eab_kid" => (
            &["--acme-eab-kid=a", "--acme-eab-hmac-key=c2VzYW1l"],
            &["--acme-eab-kid=b", "--acme-eab-hmac-key=c2VzYW1l"],
        ),
        "acme.eab_hmac_key" => (
            &["--acme-eab-kid=a", "--acme-eab-hmac-key=c2VzYW1l"],
            &["--acme-eab-kid=a", "--acme-eab-hmac-key=AAAA"],
        ),
        "acme.fallback" => (&[], &["--acme-fallback=https://two.example/dir"]),
        other => changed_host_key(other),
    }
}

fn changed_host_key(key: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match key {
        "hosts.proof" => (&[], &["--hosts-proof=none"]),
        "hosts.reserved" => (&[], &["--hosts-reserved=shop"]),
        "hosts.claim_ttl" => (&[], &["--hosts-claim-ttl=1h"]),
        "hosts.max_claims" => (&[], &["--hosts-max-claims=1"]),
        other => panic!("`{other}` has no sample"),
    }
}

/// Returns the same for a key of the section `[pub_key_store]`.
fn changed_key_store(key: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match key {
        "pub_key_store.module" => {
            (&[], &["--pub-key-store-module=http", "--pub-key-store-uri=https://k.example/{id}"])
        }
        "pub_key_store.path" => (&[], &["--pub-key-store-path=keys"]),
        "pub_key_store.uri" => (
            &["--pub-key-store-module=http", "--pub-key-store-uri=https://k.example/{id}"],
            &["--pub-key-store-module=http", "--pub-key-store-uri=https://l.example/{id}"],
        ),
        "pub_key_store.ttl" => (
            &["--pub-key-store-module=http", "--pub-key-store-uri=https://k.example/{id}"],
            &[
                "--pub-key-store-module=http",
                "--pub-key-store-uri=https://k.example/{id}",
                "--pub-key-store-ttl=1m",
            ],
        ),
        other => panic!("`{other}` has no sample"),
    }
}
