//! Listening sockets, one per worker and address.

use std::io;
use std::net::{IpAddr, SocketAddr};

use webgateway_process::BindError;
use webgateway_process::listen::{self, ListenOptions};

/// A listener to be bound.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListenerSpec {
    /// The listener's name; its sockets from systemd have it.
    pub what: &'static str,
    /// The key that sets its port.
    pub key: &'static str,
    /// The port; 0 takes a free one.
    pub port: u16,
}

/// Binds `spec` at every address for each of `workers`; returns the sockets by worker, and the port.
///
/// The kernel spreads connections over sockets that share a port. It would share it with another process just as
/// well: so the port is first taken alone.
pub(crate) fn bind(
    addresses: &[IpAddr],
    spec: ListenerSpec,
    workers: usize,
) -> Result<(Vec<Vec<std::net::TcpListener>>, u16), BindError> {
    let mut by_worker: Vec<Vec<std::net::TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    let mut port = spec.port;
    let alone = ListenOptions::among(addresses.iter().copied());
    let shared = ListenOptions { shared: true, ..alone };
    for &ip in addresses {
        let asked = SocketAddr::new(ip, port);
        let failed = |source| failure(asked, spec, source);
        let first = listen::tcp(asked, alone).map_err(failed)?;
        // Without IPv6 it is another address than was asked for.
        let bound = first.local_addr().map_err(failed)?;
        port = bound.port();
        drop(first);
        for sockets in &mut by_worker {
            sockets.push(listen::tcp(bound, shared).map_err(failed)?);
        }
    }
    Ok((by_worker, port))
}

/// Names the key that is at fault: that of the address, or that of the port.
fn failure(asked: SocketAddr, spec: ListenerSpec, source: io::Error) -> BindError {
    let key = match source.kind() {
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported => "listen",
        _ => spec.key,
    };
    BindError { what: spec.what, address: asked.to_string(), key, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_refused_although_it_could_be_shared() {
        let ip = IpAddr::from([127, 0, 0, 1]);
        let free = ListenerSpec { what: "https", key: "https_port", port: 0 };
        let (sockets, port) = bind(&[ip], free, 2).unwrap();
        assert_eq!(sockets.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
        let error = bind(&[ip], ListenerSpec { port, ..free }, 1).unwrap_err().to_string();
        assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains("`https_port`"), "{error}");
        // An address for documentation (RFC 5737), which no machine has.
        let error = bind(&[IpAddr::from([192, 0, 2, 1])], free, 1).unwrap_err().to_string();
        assert!(error.contains("192.0.2.1:0") && error.contains("`listen`"), "{error}");
    }
}
