//! The dataplane's configuration: what the keys mean, and every limit there is.

mod endpoint;
mod error;
mod limits;
mod settings;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use webgateway_process::settings::{Program, Verb};
use webgateway_proto::model::{NodeName, RemoteAddress};

pub(crate) use self::endpoint::Endpoint;
pub(crate) use self::error::ConfigError;
use self::error::within;
pub(crate) use self::limits::{
    API_ANSWER, API_ANSWERS, API_BODIES, API_BODY_TIMEOUT, API_READ_TIMEOUT, API_RECEIVED, API_TIMEOUT,
    HELLO_BYTES, Limits, POOL_PER_BACKEND,
};
use self::settings::KEYS;
pub(crate) use self::settings::Settings;

/// The program and all its keys.
pub(crate) const PROGRAM: Program = Program {
    name: "webgateway-dataplane",
    about: "Brings requests from the public internet to backends on the overlay",
    keys: KEYS,
    verbs: &[Verb {
        name: JOIN,
        about: "Joins this node to a remote controlplane, once",
        argument: "TOKEN",
        help: "What `gwctl nodes invite` printed; - reads it from standard input, where nobody else sees it",
    }],
};

/// The verb that makes a node join.
pub(crate) const JOIN: &str = "join";

/// A configuration that can be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The configured sources of resources, tried in turn; a file stands alone.
    pub feed_endpoints: Vec<Endpoint>,
    /// The node's name, if it is not the one it joined by, or the host's.
    pub node: Option<String>,
    /// The addresses of both listeners; never empty.
    pub listen: Vec<IpAddr>,
    /// The port of the split; 0 takes a free one.
    pub https_port: u16,
    /// The port of the redirect; 0 takes a free one.
    pub http_port: u16,
    /// The number of worker threads.
    pub workers: usize,
    /// The address of metrics and probes.
    pub admin_listen: SocketAddr,
    /// The log level, or directives.
    pub log_level: String,
    /// The addresses on which DNS questions are taken.
    pub dns_listen: Vec<SocketAddr>,
    /// The folder of the cache, if there is to be one.
    pub cache_dir: Option<PathBuf>,
    /// The folder of this node's own keys.
    pub state_dir: PathBuf,
    /// The part that a reload changes, besides the log level.
    pub live: Live,
}

/// The part of a configuration that a reload changes: it holds for the connections that come after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    /// Is true if every request is logged.
    pub access_log: bool,
    /// Every bound on size and time.
    pub limits: Limits,
}

impl Settings {
    /// Returns what the keys mean; refuses what nothing could run with.
    pub fn resolve(self) -> Result<Config, ConfigError> {
        if self.listen.is_empty() {
            return Err(ConfigError::NoAddress);
        }
        if self.https_port != 0 && self.https_port == self.http_port {
            return Err(ConfigError::SamePort(self.https_port));
        }
        let endpoints = self.feed.endpoint;
        if endpoints.len() > 1 && endpoints.iter().any(|endpoint| matches!(endpoint, Endpoint::File(_))) {
            return Err(ConfigError::FileAmongOthers);
        }
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let workers = self.workers.map_or_else(cores, NonZeroUsize::get);
        within("workers", workers, 1, 1024)?;
        self.limits.check()?;
        Ok(Config {
            feed_endpoints: endpoints,
            node: self.node,
            listen: self.listen,
            https_port: self.https_port,
            http_port: self.http_port,
            workers,
            admin_listen: self.admin_listen,
            log_level: self.log_level,
            dns_listen: self.dns.listen,
            cache_dir: self.cache_dir,
            state_dir: self.state_dir,
            live: Live { access_log: self.access_log, limits: self.limits },
        })
    }
}

impl Config {
    /// Returns whether this node's identity matters: a controlplane may be remote.
    #[must_use]
    pub fn may_be_remote(&self) -> bool {
        let endpoints = &self.feed_endpoints;
        endpoints.is_empty() || endpoints.iter().any(|endpoint| matches!(endpoint, Endpoint::Remote(_)))
    }

    /// Returns whether the resources come from a file.
    #[must_use]
    pub fn is_fed_by_file(&self) -> bool {
        matches!(self.feed_endpoints[..], [Endpoint::File(_)])
    }

    /// Returns the sources of resources of a node that joined at `joined`.
    #[must_use]
    pub fn endpoints(&self, joined: Option<&RemoteAddress>) -> Vec<Endpoint> {
        match (self.feed_endpoints.is_empty(), joined) {
            (false, _) => self.feed_endpoints.clone(),
            (true, Some(address)) => vec![Endpoint::Remote(address.clone())],
            (true, None) => vec![Endpoint::Unix("/run/webgateway/feed.sock".into())],
        }
    }

    /// Returns the node's name: the configured one, the one it joined by, or the host's.
    #[must_use]
    pub fn node_name(&self, joined: Option<&NodeName>) -> String {
        let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let given = self.node.clone().or_else(|| joined.map(ToString::to_string));
        let name = given.unwrap_or_else(|| host().trim().to_owned());
        if name.is_empty() { "node".to_owned() } else { name }
    }
}

#[cfg(test)]
mod tests {
    use webgateway_process::settings::{Key, Kind, from_sources, renew_reference};

    use super::*;

    fn read(args: &[&str]) -> Result<Settings, String> {
        let all = std::iter::once(&"x").chain(args).map(Into::into);
        from_sources(&PROGRAM, all, &|_| None).map(|i| i.settings).map_err(|error| error.to_string())
    }

    fn resolve(args: &[&str]) -> Result<Config, ConfigError> {
        read(args).unwrap().resolve()
    }

    #[test]
    fn defaults_are_what_the_help_says() {
        let config = resolve(&[]).unwrap();
        assert_eq!(config.https_port, 443);
        assert_eq!(config.endpoints(None)[0].to_string(), "unix:/run/webgateway/feed.sock");
        let joined = "control.example:7443".parse().unwrap();
        assert_eq!(config.endpoints(Some(&joined))[0].to_string(), "https://control.example:7443");
        assert_eq!(config.node_name(Some(&"fra".parse().unwrap())), "fra");
        for key in KEYS {
            assert!(key.help.contains(" [default: "), "{}", key.path);
            if let Some(default) = key.default_value() {
                assert_eq!(resolve(&[&key.flag(), default]).as_ref(), Ok(&config), "{}: {default}", key.path);
            }
        }
    }

    /// `UPDATE=1 cargo test -p webgateway-dataplane reference` writes it.
    #[test]
    fn the_reference_is_what_the_code_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        let page = std::fs::read_to_string(path).unwrap();
        let renewed = renew_reference(&page, &PROGRAM);
        let renewed = renewed.expect("a part about this program");
        if std::env::var_os("UPDATE").is_some() {
            return std::fs::write(path, renewed).unwrap();
        }
        let update = "UPDATE=1 cargo test -p webgateway-dataplane reference";
        assert!(
            page == renewed,
            "docs/configuration.md is not what the code says; if that is meant: {update}"
        );
    }

    #[test]
    fn every_key_is_known_to_the_structure_and_holds_after_a_reload_or_a_restart() {
        let running = resolve(&[]).unwrap();
        for key in KEYS {
            let flag = key.flag();
            let changed = resolve(&[&flag, sample(key)]).unwrap();
            assert_ne!(changed, running, "{flag}");
            let Config { log_level, live, .. } = changed.clone();
            let reloaded = Config { log_level, live, ..running.clone() };
            assert_eq!(reloaded == changed, key.is_live, "{flag} is live, or needs a restart");
        }
    }

    /// Returns a value that is not the default one.
    fn sample(key: &Key) -> &'static str {
        match (key.kind, key.path) {
            (Kind::Integer, "workers") => "777",
            (Kind::Integer, "limits.backlog_bytes") => "7777777",
            (Kind::Integer, _) => "7777",
            (Kind::Bool, _) => "true",
            (Kind::List, "dns.listen") => "[::1]:53",
            (Kind::List, "feed.endpoint") => "unix:/x,https://x:1",
            (Kind::List, _) => "::1",
            (Kind::Address, _) => "127.0.0.1:1",
            (Kind::Duration, _) => "7s",
            (Kind::Text, "log_level") => "debug",
            (Kind::Text | Kind::Path, _) => "text",
        }
    }

    #[test]
    fn what_nothing_could_run_with_is_refused() {
        assert!(resolve(&[]).is_ok());
        for (flag, value) in [
            ("--limits-stall-timeout", "0s"),
            ("--limits-response-timeout", "1000000years"),
            ("--limits-drain", "1year"),
            ("--limits-connections", "0"),
            ("--limits-streams", "0"),
            ("--limits-header-bytes", "1"),
            ("--limits-backlog-bytes", "1"),
            ("--workers", "100000"),
        ] {
            let error = resolve(&[flag, value]).unwrap_err().to_string();
            let named = error.split('`').nth(1).unwrap();
            assert_eq!(flag, format!("--{}", named.replace(['.', '_'], "-")), "{error}");
        }
        assert!(resolve(&["--limits-drain", "0s"]).is_ok());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        assert_eq!(resolve(&["--listen", ""]), Err(ConfigError::NoAddress));
        assert_eq!(resolve(&["--https-port", "81", "--http-port", "81"]), Err(ConfigError::SamePort(81)));
        assert!(resolve(&["--https-port", "0", "--http-port", "0"]).is_ok(), "each takes a free one");
        let both = resolve(&["--feed-endpoint", "file:x.json,unix:/x"]);
        assert_eq!(both, Err(ConfigError::FileAmongOthers));
    }

    #[test]
    fn wrong_values_name_their_key() {
        for (args, named) in [
            (["--feed-endpoint", "http://x:1"], "https://HOST:PORT"),
            (["--feed-endpoint", "x"], "feed.endpoint"),
            (["--workers", "0"], "workers"),
            (["--listen", "nowhere"], "listen"),
            (["--limits-drain", "soon"], "limits.drain"),
        ] {
            let error = read(&args).unwrap_err();
            assert!(error.contains(named), "{args:?}: {error}");
        }
    }
}
