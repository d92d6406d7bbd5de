//! Listening sockets, one per worker and address.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use webgateway_process::BindError;

const BACKLOG: i32 = 1024;

/// A listener to be bound.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Purpose {
    /// The listener's name; its sockets from systemd have it.
    pub what: &'static str,
    /// The key that sets its port.
    pub key: &'static str,
    /// The port; 0 takes a free one.
    pub port: u16,
}

/// Binds `purpose` at every address for each of `workers`; returns the sockets by worker, and the port.
///
/// The kernel spreads connections over sockets that share a port. It would share it with another process just as
/// well: so the port is first taken alone.
pub(crate) fn bind(
    addresses: &[IpAddr],
    purpose: Purpose,
    workers: usize,
) -> Result<(Vec<Vec<std::net::TcpListener>>, u16), BindError> {
    let mut by_worker: Vec<Vec<std::net::TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    let mut port = purpose.port;
    let both = addresses.contains(&IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
    for &ip in addresses {
        let asked = SocketAddr::new(ip, port);
        let failed =
            |source| BindError { what: purpose.what, address: asked.to_string(), key: purpose.key, source };
        let alone = socket(asked, both, false).map_err(failed)?;
        port = alone.local_addr().map_err(failed)?.port();
        drop(alone);
        for sockets in &mut by_worker {
            sockets.push(socket(SocketAddr::new(ip, port), both, true).map_err(failed)?);
        }
    }
    Ok((by_worker, port))
}

fn socket(address: SocketAddr, v6_only: bool, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_refused_although_it_could_be_shared() {
        let ip = IpAddr::from([127, 0, 0, 1]);
        let free = Purpose { what: "https", key: "https_port", port: 0 };
        let (sockets, port) = bind(&[ip], free, 2).unwrap();
        assert_eq!(sockets.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
        let error = bind(&[ip], Purpose { port, ..free }, 1).unwrap_err().to_string();
        assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains("`https_port`"), "{error}");
    }
}
