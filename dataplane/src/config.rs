//! The dataplane's configuration: its keys, their defaults, and every limit there is.

mod endpoint;
mod limits;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;
use webgateway_process::settings::{Key, Kind, Program, Verb};
use webgateway_proto::model::{NodeName, RemoteAddress};

pub use self::endpoint::{Endpoint, InvalidEndpoint};
pub use self::limits::{
    API_ANSWER, API_BODIES, API_BODY_TIMEOUT, API_TIMEOUT, HELLO_BYTES, Limits, POOL_PER_BACKEND,
};
use self::limits::{LONGEST, SHORTEST};

/// The program and all its keys.
pub const PROGRAM: Program = Program {
    name: "webgateway-dataplane",
    about: "Brings requests from the public internet to backends on the overlay",
    keys: KEYS,
    verbs: &[Verb {
        name: JOIN,
        about: "Joins this node to a controlplane far away, once; then it runs without further ado",
        argument: "TOKEN",
        help: "What `gwctl nodes invite` printed; - reads it from standard input, where nobody else sees it",
    }],
};

/// The verb by which a node joins.
pub const JOIN: &str = "join";

const fn key(path: &'static str, kind: Kind, help: &'static str) -> Key {
    Key { path, kind, help }
}

const KEYS: &[Key] = &[
    key(
        "feed.endpoint",
        Kind::List,
        "Controlplanes, tried in turn: unix:PATH, https://HOST:PORT; or file:PATH for resources in a file [default: where it joined, or unix:/run/webgateway/feed.sock]",
    ),
    key("node", Kind::Text, "This node's name [default: the one it joined by, or the host's]"),
    key("listen", Kind::List, "Addresses to listen on [default: ::]"),
    key("https_port", Kind::Integer, "Port of the split [default: 443]"),
    key("http_port", Kind::Integer, "Port of the redirect [default: 80]"),
    key("workers", Kind::Integer, "Worker threads [default: one per core]"),
    key("admin_listen", Kind::Text, "Metrics and readiness [default: 127.0.0.1:9180]"),
    key("log_level", Kind::Text, "error, warn, info, debug or trace [default: info]"),
    key("access_log", Kind::Bool, "Log every request [default: false]"),
    key(
        "cache_dir",
        Kind::Text,
        "Folder for what is served, sealed, to start without a controlplane [default: none]",
    ),
    key(
        "state_dir",
        Kind::Text,
        "Folder for this node's own keys [default: $STATE_DIRECTORY, or /var/lib/webgateway-dataplane]",
    ),
    key(
        "dns.listen",
        Kind::List,
        "Addresses to take DNS questions on for the controlplane, such as 203.0.113.1:53 [default: none]",
    ),
    key("limits.connections", Kind::Integer, "Open connections per worker [default: 20000]"),
    key("limits.hello_timeout", Kind::Text, "To send a whole ClientHello [default: 5s]"),
    key("limits.handshake_timeout", Kind::Text, "For the rest of the TLS handshake [default: 10s]"),
    key(
        "limits.header_timeout",
        Kind::Text,
        "To send a request head; also between two of them [default: 60s]",
    ),
    key("limits.header_bytes", Kind::Integer, "Bytes of a request head [default: 65536]"),
    key("limits.stall_timeout", Kind::Text, "Without progress on the visitor's side [default: 60s]"),
    key("limits.streams", Kind::Integer, "Concurrent HTTP/2 requests per connection [default: 128]"),
    key("limits.connect_timeout", Kind::Text, "To connect to a backend [default: 10s]"),
    key("limits.response_timeout", Kind::Text, "For a backend to begin its answer [default: 120s]"),
    key("limits.backend_timeout", Kind::Text, "Without a byte from an answering backend [default: 1h]"),
    key("limits.backend_idle", Kind::Text, "To keep an idle backend connection [default: 4s]"),
    key(
        "limits.tunnel_timeout",
        Kind::Text,
        "Without a byte either way in a passthrough or WebSocket [default: 1h]",
    ),
    key(
        "limits.drain",
        Kind::Text,
        "For connections of a deleted route, and all at a stop, to finish [default: 30s]",
    ),
];

/// What the dataplane is started with.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[feed]`
    pub feed: Feed,
    /// The node's name, if it is not the one it joined by, or the host's.
    pub node: Option<String>,
    /// The addresses of both listeners.
    pub listen: Vec<IpAddr>,
    /// The port of the split; 0 takes a free one.
    pub https_port: u16,
    /// The port of the redirect; 0 takes a free one.
    pub http_port: u16,
    /// Worker threads, if not one per core.
    pub workers: Option<std::num::NonZeroUsize>,
    /// Where metrics and probes are.
    pub admin_listen: SocketAddr,
    /// What is logged.
    pub log_level: String,
    /// Whether every request is logged.
    pub access_log: bool,
    /// `[dns]`
    pub dns: Dns,
    /// Where what is served is kept, if it is.
    pub cache_dir: Option<PathBuf>,
    /// Where this node's own keys are.
    pub state_dir: PathBuf,
    /// `[limits]`
    pub limits: Limits,
}

/// `[feed]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Feed {
    /// Where the resources come from, tried in turn; none: where it joined, or the socket of this machine.
    pub endpoint: Vec<Endpoint>,
}

/// `[dns]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    /// Where DNS questions are taken; nowhere by default.
    pub listen: Vec<SocketAddr>,
}

impl Config {
    /// Whether who this node is matters: a controlplane may be far away.
    #[must_use]
    pub fn may_be_remote(&self) -> bool {
        let endpoints = &self.feed.endpoint;
        endpoints.is_empty() || endpoints.iter().any(|endpoint| matches!(endpoint, Endpoint::Remote(_)))
    }

    /// Where the resources come from, of a node that joined at `joined`.
    #[must_use]
    pub fn endpoints(&self, joined: Option<&RemoteAddress>) -> Vec<Endpoint> {
        match (self.feed.endpoint.is_empty(), joined) {
            (false, _) => self.feed.endpoint.clone(),
            (true, Some(address)) => vec![Endpoint::Remote(address.clone())],
            (true, None) => vec![Endpoint::Unix("/run/webgateway/feed.sock".into())],
        }
    }

    /// The node's name: the configured one, the one it joined by, or the host's.
    #[must_use]
    pub fn node_name(&self, joined: Option<&NodeName>) -> String {
        let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let given = self.node.clone().or_else(|| joined.map(ToString::to_string));
        let name = given.unwrap_or_else(|| host().trim().to_owned());
        if name.is_empty() { "node".to_owned() } else { name }
    }

    /// Refuses numbers that nothing could run with: time that is none or beyond the clock, room for nothing.
    pub fn check_bounds(&self) -> Result<(), String> {
        let limits = &self.limits;
        let durations = [
            ("hello_timeout", limits.hello_timeout),
            ("handshake_timeout", limits.handshake_timeout),
            ("header_timeout", limits.header_timeout),
            ("stall_timeout", limits.stall_timeout),
            ("connect_timeout", limits.connect_timeout),
            ("response_timeout", limits.response_timeout),
            ("backend_timeout", limits.backend_timeout),
            ("tunnel_timeout", limits.tunnel_timeout),
        ];
        for (key, duration) in durations {
            if !(SHORTEST..=LONGEST).contains(&duration) {
                return Err(format!("`limits.{key}` must be from 10ms to 30days"));
            }
        }
        for (key, duration) in [("backend_idle", limits.backend_idle), ("drain", limits.drain)] {
            if duration > LONGEST {
                return Err(format!("`limits.{key}` must be 30days at most"));
            }
        }
        let numbers = [
            ("workers", self.worker_count(), 1..=1024),
            ("limits.connections", limits.connections, 1..=10_000_000),
            ("limits.streams", limits.streams as usize, 1..=10_000),
            ("limits.header_bytes", limits.header_bytes as usize, 1024..=1024 * 1024),
        ];
        match numbers.iter().find(|(_, number, range)| !range.contains(number)) {
            Some((key, _, range)) => {
                Err(format!("`{key}` must be from {} to {}", range.start(), range.end()))
            }
            None => Ok(()),
        }
    }

    /// How many workers run.
    #[must_use]
    pub fn worker_count(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        self.workers.map_or_else(cores, std::num::NonZeroUsize::get)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            feed: Feed::default(),
            node: None,
            listen: vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
            https_port: 443,
            http_port: 80,
            workers: None,
            admin_listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9180),
            log_level: "info".to_owned(),
            access_log: false,
            dns: Dns::default(),
            cache_dir: None,
            state_dir: state_dir(std::env::var_os("STATE_DIRECTORY")),
            limits: Limits::default(),
        }
    }
}

/// The first of what systemd gives a unit (systemd.exec(5), `StateDirectory=`), or the usual one.
fn state_dir(given: Option<OsString>) -> PathBuf {
    let given = given.and_then(|dirs| dirs.into_string().ok());
    let first = given.as_deref().and_then(|dirs| dirs.split(':').next()).filter(|dir| !dir.is_empty());
    first.unwrap_or("/var/lib/webgateway-dataplane").into()
}

#[cfg(test)]
mod tests {
    use webgateway_process::settings::from_sources;

    use super::*;

    fn run(args: &[&str]) -> Result<Config, String> {
        let all = std::iter::once(&"x").chain(args).map(Into::into);
        from_sources(&PROGRAM, all, &|_| None).map(|i| i.settings).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_what_the_help_says() {
        let config = run(&[]).unwrap();
        assert_eq!(config.https_port, 443);
        assert_eq!(config.endpoints(None)[0].to_string(), "unix:/run/webgateway/feed.sock");
        let joined = "control.example:7443".parse().unwrap();
        assert_eq!(config.endpoints(Some(&joined))[0].to_string(), "https://control.example:7443");
        assert_eq!(config.node_name(Some(&"fra".parse().unwrap())), "fra");
        for key in KEYS {
            assert!(key.help.contains("[default: "), "{}", key.path);
        }
    }

    #[test]
    fn the_state_is_where_systemd_says() {
        assert_eq!(state_dir(None), PathBuf::from("/var/lib/webgateway-dataplane"));
        assert_eq!(state_dir(Some("/var/lib/a:/var/lib/b".into())), PathBuf::from("/var/lib/a"));
    }

    #[test]
    fn every_key_is_known_to_the_structure() {
        for key in KEYS {
            let flag = format!("--{}", key.path.replace(['.', '_'], "-"));
            let value = match (key.kind, key.path) {
                (Kind::Integer, _) => "7",
                (Kind::Bool, _) => "true",
                (Kind::List, "dns.listen") => "[::1]:53",
                (Kind::List, "feed.endpoint") => "unix:/x,https://x:1",
                (Kind::List, _) => "::1",
                (Kind::Text, "admin_listen") => "127.0.0.1:1",
                (Kind::Text, _) => "7s",
            };
            assert!(run(&[&flag, value]).is_ok(), "{flag} {value}");
        }
    }

    #[test]
    fn what_nothing_could_run_with_is_refused() {
        assert_eq!(run(&[]).unwrap().check_bounds(), Ok(()));
        for (flag, value) in [
            ("--limits-stall-timeout", "0s"),
            ("--limits-response-timeout", "1000000years"),
            ("--limits-drain", "1year"),
            ("--limits-connections", "0"),
            ("--limits-streams", "0"),
            ("--limits-header-bytes", "1"),
            ("--workers", "100000"),
        ] {
            let error = run(&[flag, value]).unwrap().check_bounds().unwrap_err();
            let named = error.split('`').nth(1).unwrap();
            assert_eq!(flag, format!("--{}", named.replace(['.', '_'], "-")), "{error}");
        }
        assert_eq!(run(&["--limits-drain", "0s"]).unwrap().check_bounds(), Ok(()));
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
            let error = run(&args).unwrap_err();
            assert!(error.contains(named), "{args:?}: {error}");
        }
    }
}
