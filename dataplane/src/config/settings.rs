//! The configuration keys, with their help and defaults.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::Deserialize;
use webgateway_process::settings::{Key, Kind};

use super::endpoint::Endpoint;
use super::limits::Limits;

const fn key(path: &'static str, kind: Kind, help: &'static str) -> Key {
    Key::new(path, kind, help)
}

/// Returns a key whose change takes effect after a SIGHUP.
const fn live(path: &'static str, kind: Kind, help: &'static str) -> Key {
    Key::new(path, kind, help).live()
}

/// All keys of the configuration.
pub(super) const KEYS: &[Key] = &[
    key(
        "feed.endpoint",
        Kind::List,
        "Controlplanes, tried in turn: unix:PATH, https://HOST:PORT; or file:PATH for resources in a file [default: the controlplane that this node joined, or unix:/run/webgateway/feed.sock]",
    ),
    key("node", Kind::Text, "Name of this node [default: the name it was invited under, or the host name]"),
    key("listen", Kind::List, "Addresses to listen on [default: ::]"),
    key("https_port", Kind::Integer, "Port for HTTPS [default: 443]"),
    key("http_port", Kind::Integer, "Port for HTTP, which redirects to HTTPS [default: 80]"),
    key("workers", Kind::Integer, "Worker threads [default: one per core]"),
    key("admin_listen", Kind::Text, "Address for metrics and readiness [default: 127.0.0.1:9180]"),
    live("log_level", Kind::Text, "Log level: error, warn, info, debug or trace [default: info]"),
    live("access_log", Kind::Bool, "Log every request [default: false]"),
    key(
        "cache_dir",
        Kind::Text,
        "Folder for an encrypted copy of all resources, to start without a controlplane [default: none]",
    ),
    key(
        "state_dir",
        Kind::Text,
        "Folder for this node's keys [default: $STATE_DIRECTORY, or /var/lib/webgateway-dataplane]",
    ),
    key(
        "dns.listen",
        Kind::List,
        "Addresses on which DNS questions are relayed to the controlplane, such as 203.0.113.1:53 [default: none]",
    ),
    live("limits.connections", Kind::Integer, "Maximum open connections per worker [default: 20000]"),
    live("limits.hello_timeout", Kind::Text, "Time to receive a ClientHello [default: 5s]"),
    live("limits.handshake_timeout", Kind::Text, "Time for the rest of the TLS handshake [default: 10s]"),
    live(
        "limits.header_timeout",
        Kind::Text,
        "Time to receive a request head, also between two requests [default: 60s]",
    ),
    live(
        "limits.header_bytes",
        Kind::Integer,
        "Maximum size of a request or response head, in bytes [default: 65536]",
    ),
    live(
        "limits.stall_timeout",
        Kind::Text,
        "Time without progress of a client that sends or reads [default: 60s]",
    ),
    live("limits.streams", Kind::Integer, "Maximum concurrent HTTP/2 requests per connection [default: 128]"),
    live("limits.connect_timeout", Kind::Text, "Time to connect to a backend [default: 10s]"),
    live(
        "limits.ack_timeout",
        Kind::Text,
        "Time for a backend's host to acknowledge sent data [default: 15s]",
    ),
    live("limits.response_timeout", Kind::Text, "Time for the response head of a backend [default: 120s]"),
    live("limits.backend_timeout", Kind::Text, "Time without a byte of a response body [default: 1h]"),
    live("limits.backend_idle", Kind::Text, "Time to keep an idle backend connection [default: 4s]"),
    live(
        "limits.tunnel_timeout",
        Kind::Text,
        "Time without a byte in either direction of a passthrough or WebSocket [default: 1h]",
    ),
    live(
        "limits.drain",
        Kind::Text,
        "Time for the connections of a deleted route, or all at a stop, to finish [default: 30s]",
    ),
];

/// The values of the keys before validation, which turns them into a [`Config`](super::Config).
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub(super) feed: Feed,
    pub(super) node: Option<String>,
    pub(super) listen: Vec<IpAddr>,
    pub(super) https_port: u16,
    pub(super) http_port: u16,
    pub(super) workers: Option<NonZeroUsize>,
    pub(super) admin_listen: SocketAddr,
    pub(super) log_level: String,
    pub(super) access_log: bool,
    pub(super) dns: Dns,
    pub(super) cache_dir: Option<PathBuf>,
    pub(super) state_dir: PathBuf,
    pub(super) limits: Limits,
}

/// The section `[feed]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Feed {
    pub(super) endpoint: Vec<Endpoint>,
}

/// The section `[dns]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Dns {
    pub(super) listen: Vec<SocketAddr>,
}

impl Default for Settings {
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

/// Returns the first folder in `$STATE_DIRECTORY`, which systemd sets (systemd.exec(5), `StateDirectory=`), or the default.
fn state_dir(variable: Option<OsString>) -> PathBuf {
    let folders = variable.and_then(|folders| folders.into_string().ok());
    let first = folders.as_deref().and_then(|dirs| dirs.split(':').next()).filter(|dir| !dir.is_empty());
    first.unwrap_or("/var/lib/webgateway-dataplane").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_folder_is_the_first_one_of_systemd_or_the_default() {
        assert_eq!(state_dir(None), PathBuf::from("/var/lib/webgateway-dataplane"));
        assert_eq!(state_dir(Some("/var/lib/a:/var/lib/b".into())), PathBuf::from("/var/lib/a"));
    }
}
