//! Listening sockets: one per worker and address, which share a port.

use std::io;
use std::net::{IpAddr, SocketAddr};

use webgateway_process::BindError;
use webgateway_process::listen::{self, ListenOptions};

/// The specification of a listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListenerSpec {
    /// The listener's name, which is also that of its sockets from systemd.
    pub name: &'static str,
    /// The configuration key of its port.
    pub key: &'static str,
    /// The port; 0 for a free one.
    pub port: u16,
}

/// Binds a listener at all addresses for each of `workers` workers; returns the sockets by worker, and the port.
///
/// The kernel spreads connections over sockets that share a port (`SO_REUSEPORT`), even with those of another process.
/// So the port is first bound exclusively, which fails if it is in use.
pub(crate) fn bind(
    addresses: &[IpAddr],
    spec: ListenerSpec,
    workers: usize,
) -> Result<(Vec<Vec<std::net::TcpListener>>, u16), BindError> {
    let mut by_worker: Vec<Vec<std::net::TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    let mut port = spec.port;
    let exclusive = ListenOptions::among(addresses.iter().copied());
    let shared = ListenOptions { shared: true, ..exclusive };
    for &ip in addresses {
        let asked = SocketAddr::new(ip, port);
        let failed = |source| failure(asked, spec, source);
        let first = listen::tcp(asked, exclusive).map_err(failed)?;
        // On a machine without IPv6, `[::]` is bound as 0.0.0.0.
        let bound = first.local_addr().map_err(failed)?;
        port = bound.port();
        drop(first);
        for sockets in &mut by_worker {
            sockets.push(listen::tcp(bound, shared).map_err(failed)?);
        }
    }
    Ok((by_worker, port))
}

/// Creates the error, which names the configuration key at fault: that of the address or that of the port.
fn failure(asked: SocketAddr, spec: ListenerSpec, source: io::Error) -> BindError {
    let key = match source.kind() {
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported => "listen",
        _ => spec.key,
    };
    BindError { what: spec.name, address: asked.to_string(), key, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_refused_although_it_could_be_shared() {
        let ip = IpAddr::from([127, 0, 0, 1]);
        let free = ListenerSpec { name: "https", key: "https_port", port: 0 };
        let (sockets, port) = bind(&[ip], free, 2).unwrap();
        assert_eq!(sockets.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
        let error = bind(&[ip], ListenerSpec { port, ..free }, 1).unwrap_err().to_string();
        assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains("`https_port`"), "{error}");
        // An address for documentation (RFC 5737), which no machine has.
        let error = bind(&[IpAddr::from([192, 0, 2, 1])], free, 1).unwrap_err().to_string();
        assert!(error.contains("192.0.2.1:0") && error.contains("`listen`"), "{error}");
    }
}
