//! The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): a header before the first byte of a connection
//! that announces the client and the address it connected to.

mod decode;
mod encode;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::net::{IpAddr, SocketAddr};

use webgateway_proto::model::options::ProxyProtocol;

pub(crate) use self::decode::{Announcement, HeaderError, decode};
pub(crate) use self::encode::local_header;

/// The first bytes of a header of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The maximum size of a header of version 1 with its CR LF, in bytes.
const MAX_LINE: usize = 107;
/// The maximum size of a header of version 2, in bytes. The extensions in it (TLVs) may contain a certificate.
const MAX_BINARY: usize = 8 * 1024;
/// The maximum size of a header, in bytes.
pub(crate) const MAX_HEADER: usize = MAX_BINARY;

/// The byte of version 2 and the command `LOCAL`: the sender's own connection, such as a health check.
const LOCAL: u8 = 0x20;
/// The byte of version 2 and the command `PROXY`: the connection of a client.
const PROXY: u8 = 0x21;
/// The byte of TCP over IPv4.
const TCP4: u8 = 0x11;
/// The byte of TCP over IPv6.
const TCP6: u8 = 0x21;

/// The two ends of a client's connection: those of its TCP connection, or those that a load balancer announces. An
/// IPv4-mapped IPv6 address is its IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoints {
    source: SocketAddr,
    destination: SocketAddr,
}

/// The origin of a connection to a backend: a client's connection.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The ends of the client's connection.
    pub endpoints: Endpoints,
    /// The server name (SNI) of its handshake; empty without one.
    pub server_name: Box<str>,
}

impl Endpoints {
    /// Creates the ends of a connection from `source` to `destination`.
    #[must_use]
    pub(crate) fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        Self { source: canonical(source), destination: canonical(destination) }
    }

    /// Returns the client's address and port.
    #[must_use]
    pub(crate) fn source(&self) -> SocketAddr {
        self.source
    }

    /// Returns the client's address.
    #[must_use]
    pub(crate) fn client(&self) -> IpAddr {
        self.source.ip()
    }

    /// Returns both ends in one family: if one of them is IPv6, the other one is mapped to IPv6.
    fn same_family(&self) -> EndpointPair {
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => EndpointPair::V4(source, destination),
            (source, destination) => {
                let mapped = |ip: IpAddr| match ip {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                    IpAddr::V6(v6) => v6,
                };
                EndpointPair::V6(mapped(source), mapped(destination))
            }
        }
    }
}

/// Two addresses of one family.
enum EndpointPair {
    V4(std::net::Ipv4Addr, std::net::Ipv4Addr),
    V6(std::net::Ipv6Addr, std::net::Ipv6Addr),
}

impl Origin {
    /// Creates the origin of a connection whose server name is not known yet.
    #[must_use]
    pub(crate) fn new(endpoints: Endpoints) -> Self {
        Self { endpoints, server_name: Box::default() }
    }

    /// Returns the header that announces this client, which is empty if the protocol is off.
    #[must_use]
    pub(crate) fn header(&self, protocol: ProxyProtocol) -> Box<[u8]> {
        match protocol {
            ProxyProtocol::Off => Box::default(),
            ProxyProtocol::V1 => encode::line(&self.endpoints).into(),
            ProxyProtocol::V2 => encode::binary(&self.endpoints, &self.server_name).into(),
        }
    }
}

#[cfg(test)]
mod tests;
