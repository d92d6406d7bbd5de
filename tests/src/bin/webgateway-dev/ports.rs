//! The ports `make dev` uses, all on loopback.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use tokio::net::{TcpListener, UdpSocket};
use webgateway_tests::pebble;

/// The https port.
pub(crate) const HTTPS: u16 = 8443;
/// The plain HTTP port.
pub(crate) const HTTP: u16 = 8081;
/// The port of the API.
pub(crate) const RPC: u16 = 8080;
/// The port of the DNS server, UDP and TCP.
pub(crate) const DNS: u16 = 5354;
/// The port of the dataplane's metrics.
pub(crate) const ADMIN: u16 = 9180;
/// The port of the controlplane's metrics.
pub(crate) const CONTROL_ADMIN: u16 = 9181;
/// The port of the sample backend, plain HTTP.
pub(crate) const BACKEND: u16 = 8082;
/// The port of the sample backend with its own certificate.
pub(crate) const TLS_BACKEND: u16 = 8083;

/// The port of the resolver that the CA uses.
pub(crate) const RESOLVER: u16 = 5355;

/// Returns an address on loopback.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)
}

/// Fails with the port and a hint if a port is in use.
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
            (RESOLVER, "the DNS as the CA sees it"),
            (pebble::PORT, "the CA"),
            (pebble::MANAGEMENT, "the CA"),
        ]);
    }
    for (port, what) in all {
        let hint = || {
            format!(
                "port {port} of 127.0.0.1 ({what}) is not free: see who has it with `ss -ltunp sport = :{port}`, \
                 stop that, and run `make dev` again"
            )
        };
        TcpListener::bind(local(port)).await.with_context(hint)?;
        if port == DNS || port == RESOLVER {
            UdpSocket::bind(local(port)).await.with_context(hint)?;
        }
    }
    Ok(())
}
