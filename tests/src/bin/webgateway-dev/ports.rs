//! The ports `make dev` uses, all on loopback.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use tokio::net::{TcpListener, UdpSocket};
use webgateway_tests::pebble;

/// Clients, https.
pub(crate) const HTTPS: u16 = 8443;
/// Clients, plain http.
pub(crate) const HTTP: u16 = 8081;
/// The API.
pub(crate) const RPC: u16 = 8080;
/// The DNS server, UDP and TCP.
pub(crate) const DNS: u16 = 5354;
/// The dataplane's metrics.
pub(crate) const ADMIN: u16 = 9180;
/// The controlplane's metrics.
pub(crate) const CONTROL_ADMIN: u16 = 9181;
/// The sample backend, plain http.
pub(crate) const BACKEND: u16 = 8082;
/// The sample backend with TLS of its own.
pub(crate) const TLS_BACKEND: u16 = 8083;

/// What the CA asks about names.
pub(crate) const WORLD_DNS: u16 = 5355;

/// An address on loopback.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)
}

/// Fails, naming the port, if one is taken.
pub(crate) async fn must_be_free(acme: bool) -> Result<()> {
    let mut all = vec![
        (HTTPS, "clients, https"),
        (HTTP, "clients, plain http"),
        (RPC, "the API"),
        (DNS, "the DNS server"),
        (ADMIN, "the dataplane's metrics"),
        (CONTROL_ADMIN, "the controlplane's metrics"),
        (BACKEND, "the sample backend"),
        (TLS_BACKEND, "the sample backend with TLS of its own"),
    ];
    if acme {
        all.extend([
            (WORLD_DNS, "the DNS as the CA sees it"),
            (pebble::PORT, "the CA"),
            (pebble::MANAGEMENT, "the CA"),
        ]);
    }
    for (port, what) in all {
        let what_to_do = || {
            format!(
                "port {port} of 127.0.0.1 ({what}) is not free: see who has it with `ss -ltunp sport = :{port}`, \
                 stop that, and run `make dev` again"
            )
        };
        TcpListener::bind(local(port)).await.with_context(what_to_do)?;
        if port == DNS || port == WORLD_DNS {
            UdpSocket::bind(local(port)).await.with_context(what_to_do)?;
        }
    }
    Ok(())
}
