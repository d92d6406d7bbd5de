//! The configuration keys, with their help and defaults.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::Deserialize;
use webgateway_process::settings::Key;

use super::endpoint::Endpoint;
use super::limits::Limits;

/// All keys of the configuration.
pub(super) const KEYS: &[Key] = &[
    Key::list(
        "feed.endpoint",
        "The controlplanes, tried in turn: unix:PATH or https://HOST:PORT. Or a single file:PATH with resources, to run without a controlplane [default: the controlplane that the node joined, or unix:/run/webgateway/feed.sock]",
    ),
    Key::text("node", "The name of this node [default: the name under which it was invited, or the machine's host name]"),
    Key::list("listen", "The addresses that clients connect to [default: ::]"),
    Key::number("https_port", "The port for TLS [default: 443]"),
    Key::number(
        "http_port",
        "The port for plain HTTP: it redirects to https and answers ACME challenges [default: 80]",
    ),
    Key::number("workers", "The number of worker threads [default: one per core]"),
    Key::address(
        "admin_listen",
        "The address of metrics (/metrics) and readiness (/readyz) [default: 127.0.0.1:9180]",
    ),
    Key::text(
        "log_level",
        "The log level: error, warn, info, debug or trace; or directives, such as info,webgateway_dataplane=debug [default: info]",
    ).live(),
    Key::bool("access_log", "Log every request [default: false]").live(),
    Key::file(
        "cache_dir",
        "A directory for an encrypted copy of the configuration that is served, so that the node can start while the controlplane is away [default: none]",
    ),
    Key::file(
        "state_dir",
        "The directory of this node's own keys and, once it has joined, its certificate [default: $STATE_DIRECTORY, or /var/lib/webgateway-dataplane]",
    ),
    Key::list(
        "dns.listen",
        "Addresses on which DNS questions are received and relayed to the controlplane, such as 203.0.113.1:53 [default: none]",
    ),
    Key::number(
        "limits.connections",
        "Open connections per worker, WebSockets and passthrough included. There are fewer if the limit on open files leaves no descriptor for the backend connection of each [default: 20000]",
    ).live(),
    Key::duration(
        "limits.hello_timeout",
        "The time for a client to send its whole ClientHello [default: 5s]",
    ).live(),
    Key::duration("limits.handshake_timeout", "The time for the rest of the TLS handshake [default: 10s]").live(),
    Key::duration(
        "limits.header_timeout",
        "The time for a client to send a request head, and the longest pause between two requests [default: 60s]",
    ).live(),
    Key::number(
        "limits.header_bytes",
        "The maximum size of the head of a request or of a backend's response, in bytes, with at most one field for each 32 bytes [default: 65536]",
    ).live(),
    Key::duration(
        "limits.stall_timeout",
        "The longest time without progress while the gateway waits for the client [default: 60s]",
    ).live(),
    Key::number(
        "limits.backlog_bytes",
        "The size of the responses that wait for their clients to read, in bytes per worker; beyond it, those that \
         wait longest are cut [default: 268435456]",
    )
    .live(),
    Key::number("limits.streams", "Concurrent HTTP/2 requests per connection [default: 128]").live(),
    Key::duration("limits.connect_timeout", "The time to connect to a backend [default: 10s]").live(),
    Key::duration(
        "limits.ack_timeout",
        "The time for a backend's host to acknowledge data, also in passthrough and WebSocket connections. An upload that a slow backend does not read yet may wait longer [default: 15s]",
    ).live(),
    Key::duration("limits.response_timeout", "The time for a backend to send the head of its response [default: 120s]").live(),
    Key::duration(
        "limits.backend_timeout",
        "The longest time without a byte of a backend's response body [default: 1h]",
    ).live(),
    Key::duration(
        "limits.backend_idle",
        "The time to keep an idle connection to a backend; a shorter time in the backend's Keep-Alive field takes precedence [default: 4s]",
    ).live(),
    Key::duration(
        "limits.tunnel_timeout",
        "The longest time without a byte in either direction of a passthrough or WebSocket connection [default: 1h]",
    ).live(),
    Key::duration(
        "limits.drain",
        "The time for connections to finish when their route is deleted or the process stops [default: 30s]",
    ).live(),
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

/// Returns the first folder in `$STATE_DIRECTORY`, which systemd sets (systemd.exec(5), `StateDirectory=`), or the
/// default.
fn state_dir(variable: Option<OsString>) -> PathBuf {
    let folders = variable.and_then(|dirs| dirs.into_string().ok());
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
