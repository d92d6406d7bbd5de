//! The two ends of a client's connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The two ends of a client's connection: those of its TCP connection, or those that a load balancer announces. An
/// IPv4-mapped IPv6 address is its IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoints {
    source: SocketAddr,
    destination: SocketAddr,
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

    /// Returns the address and port that the client connected to.
    #[must_use]
    pub(crate) fn destination(&self) -> SocketAddr {
        self.destination
    }

    /// Returns the client's address.
    #[must_use]
    pub(crate) fn client(&self) -> IpAddr {
        self.source.ip()
    }

    /// Returns both ends in one family: if one of them is IPv6, the other one is mapped to IPv6.
    pub(super) fn same_family(&self) -> EndpointPair {
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
pub(super) enum EndpointPair {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}
