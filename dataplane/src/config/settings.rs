//! The keys as they are given, with their defaults.

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

/// A key a change of which holds after a SIGHUP.
const fn live(path: &'static str, kind: Kind, help: &'static str) -> Key {
    Key::new(path, kind, help).live()
}

pub(super) const KEYS: &[Key] = &[
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
    live("log_level", Kind::Text, "error, warn, info, debug or trace [default: info]"),
    live("access_log", Kind::Bool, "Log every request [default: false]"),
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
    live("limits.connections", Kind::Integer, "Open connections per worker [default: 20000]"),
    live("limits.hello_timeout", Kind::Text, "To send a whole ClientHello [default: 5s]"),
    live("limits.handshake_timeout", Kind::Text, "For the rest of the TLS handshake [default: 10s]"),
    live(
        "limits.header_timeout",
        Kind::Text,
        "To send a request head; also between two of them [default: 60s]",
    ),
    live("limits.header_bytes", Kind::Integer, "Bytes of a head, of a request or an answer [default: 65536]"),
    live("limits.stall_timeout", Kind::Text, "Without progress on the client's side [default: 60s]"),
    live("limits.streams", Kind::Integer, "Concurrent HTTP/2 requests per connection [default: 128]"),
    live("limits.connect_timeout", Kind::Text, "To connect to a backend [default: 10s]"),
    live(
        "limits.ack_timeout",
        Kind::Text,
        "For a backend's host to acknowledge what it was sent [default: 15s]",
    ),
    live("limits.response_timeout", Kind::Text, "For a backend to begin its answer [default: 120s]"),
    live("limits.backend_timeout", Kind::Text, "Without a byte from an answering backend [default: 1h]"),
    live("limits.backend_idle", Kind::Text, "To keep an idle backend connection [default: 4s]"),
    live(
        "limits.tunnel_timeout",
        Kind::Text,
        "Without a byte either way in a passthrough or WebSocket [default: 1h]",
    ),
    live(
        "limits.drain",
        Kind::Text,
        "For connections of a deleted route, and all at a stop, to finish [default: 30s]",
    ),
];

/// The keys as they are given; [`Config`](super::Config) is what they mean.
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

/// `[feed]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Feed {
    pub(super) endpoint: Vec<Endpoint>,
}

/// `[dns]`
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

/// Returns the first folder that systemd gives a unit (systemd.exec(5), `StateDirectory=`), or the usual one.
fn state_dir(given: Option<OsString>) -> PathBuf {
    let given = given.and_then(|dirs| dirs.into_string().ok());
    let first = given.as_deref().and_then(|dirs| dirs.split(':').next()).filter(|dir| !dir.is_empty());
    first.unwrap_or("/var/lib/webgateway-dataplane").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_where_systemd_says() {
        assert_eq!(state_dir(None), PathBuf::from("/var/lib/webgateway-dataplane"));
        assert_eq!(state_dir(Some("/var/lib/a:/var/lib/b".into())), PathBuf::from("/var/lib/a"));
    }
}
