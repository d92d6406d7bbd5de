//! The binding of all TCP and UDP listeners, with the same options everywhere.
//!
//! `[::]` also accepts IPv4, independent of `net.ipv6.bindv6only`. On a machine without IPv6 it becomes `0.0.0.0`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tracing::warn;

/// The maximum number of connections that wait to be accepted. The kernel may allow fewer (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;
/// The system's error without IPv6 (EAFNOSUPPORT).
const NO_IPV6: i32 = 97;

/// The options of a listening socket.
#[derive(Debug, Clone, Copy, Default)]
pub struct ListenOptions {
    /// True if `[::]` accepts only IPv6, because another socket of this process accepts IPv4.
    pub v6_only: bool,
    /// True if other sockets may listen at the same address (`SO_REUSEPORT`).
    pub shared: bool,
}

impl ListenOptions {
    /// Returns the options for one of `addresses`. If 0.0.0.0 is among them, `[::]` accepts only IPv6.
    pub fn among(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let v6_only = addresses.into_iter().any(|ip| ip == IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Self { v6_only, shared: false }
    }
}

/// Binds a non-blocking TCP listener at `address`.
pub fn tcp(address: SocketAddr, options: ListenOptions) -> io::Result<TcpListener> {
    let socket = open(address, Type::STREAM, options)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Binds a non-blocking UDP socket at `address`.
pub fn udp(address: SocketAddr, options: ListenOptions) -> io::Result<UdpSocket> {
    open(address, Type::DGRAM, options).map(UdpSocket::from)
}

fn open(address: SocketAddr, kind: Type, options: ListenOptions) -> io::Result<Socket> {
    fall_back(address, options, |address| bind(address, kind, options))
}

/// Calls `bind`, and without IPv6 once more with 0.0.0.0 if `[::]` was to accept IPv4, too.
fn fall_back<T>(
    address: SocketAddr,
    options: ListenOptions,
    bind: impl Fn(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    match bind(address) {
        Err(error) if is_without_ipv6(&error, address.ip()) => {
            if address.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
                return Err(io::Error::new(io::ErrorKind::Unsupported, NO_IPV6_HERE));
            }
            if options.v6_only {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "this machine has no IPv6: remove ::",
                ));
            }
            let instead = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            warn!(%address, %instead, "IPv6 not available, listening on IPv4 only");
            bind(instead)
        }
        other => other,
    }
}

/// Returns whether the machine has no IPv6, or has disabled it (`net.ipv6.conf.all.disable_ipv6`), so that `::1` does
/// not exist.
fn is_without_ipv6(error: &io::Error, ip: IpAddr) -> bool {
    error.raw_os_error() == Some(NO_IPV6)
        || error.kind() == io::ErrorKind::AddrNotAvailable && ip == IpAddr::V6(Ipv6Addr::LOCALHOST)
}

const NO_IPV6_HERE: &str = "this machine has no IPv6: write an IPv4 address, such as 127.0.0.1 or 0.0.0.0";

fn bind(address: SocketAddr, kind: Type, options: ListenOptions) -> io::Result<Socket> {
    let is_tcp = kind == Type::STREAM;
    let protocol = if is_tcp { Protocol::TCP } else { Protocol::UDP };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(options.v6_only)?;
    }
    // For UDP, it would allow another process to bind the same address.
    socket.set_reuse_address(is_tcp)?;
    socket.set_reuse_port(options.shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
    const BOTH: ListenOptions = ListenOptions { v6_only: false, shared: false };

    fn without_ipv6(address: SocketAddr) -> io::Result<SocketAddr> {
        if address.is_ipv6() { Err(io::Error::from_raw_os_error(NO_IPV6)) } else { Ok(address) }
    }

    #[test]
    fn the_unspecified_address_accepts_ipv4_unless_another_socket_does() {
        let only = |socket: &Socket| socket.only_v6().unwrap();
        assert!(!only(&tcp(ANY, BOTH).unwrap().into()));
        assert!(!only(&udp(ANY, BOTH).unwrap().into()));
        let options = ListenOptions::among([ANY.ip(), Ipv4Addr::UNSPECIFIED.into()]);
        let v6 = tcp(ANY, options).unwrap();
        let port = v6.local_addr().unwrap().port();
        tcp(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), options).unwrap();
        assert!(only(&v6.into()));
        assert!(!ListenOptions::among([ANY.ip(), Ipv4Addr::LOCALHOST.into()]).v6_only);
    }

    #[test]
    fn an_address_in_use_is_an_error() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"].map(|address| address.parse().unwrap()) {
            let (stream, message) = (tcp(address, BOTH).unwrap(), udp(address, BOTH).unwrap());
            let taken = tcp(stream.local_addr().unwrap(), BOTH).unwrap_err();
            assert_eq!(taken.kind(), io::ErrorKind::AddrInUse, "{address}");
            let taken = udp(message.local_addr().unwrap(), BOTH).unwrap_err();
            assert_eq!(taken.kind(), io::ErrorKind::AddrInUse, "{address}");
        }
    }

    #[test]
    fn without_ipv6_the_unspecified_address_falls_back_and_others_are_errors() {
        let bound = fall_back(SocketAddr::new(ANY.ip(), 53), BOTH, without_ipv6).unwrap();
        assert_eq!(bound.to_string(), "0.0.0.0:53");
        let alone = ListenOptions { v6_only: true, ..BOTH };
        let error = fall_back(ANY, alone, without_ipv6).unwrap_err().to_string();
        assert!(error.contains("remove ::"), "{error}");
        let local = "[::1]:53".parse().unwrap();
        let error = fall_back(local, BOTH, without_ipv6).unwrap_err().to_string();
        assert!(error.contains("write an IPv4 address"), "{error}");
        let disabled =
            |_| -> io::Result<SocketAddr> { Err(io::Error::from(io::ErrorKind::AddrNotAvailable)) };
        let error = fall_back(local, BOTH, disabled).unwrap_err().to_string();
        assert!(error.contains("write an IPv4 address"), "{error}");
        let elsewhere = "[400::1]:53".parse().unwrap();
        let error = fall_back(elsewhere, BOTH, disabled).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable, "IPv6 is there, and the address is not");
    }
}
