//! A UDP socket that answers from the address to which the question was sent, because resolvers drop answers from
//! others (ip(7), `IP_PKTINFO`; RFC 3542, section 6).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;

use nix::cmsg_space;
use nix::libc::{in_addr, in_pktinfo, in6_pktinfo};
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// A bound UDP socket.
#[derive(Debug)]
pub(super) struct UdpServer(UdpSocket);

/// The source address of an answer, and its interface if the address is not unique.
#[derive(Debug, Clone, Copy)]
enum Source {
    V4(in_pktinfo),
    /// An IPv6 address, or an IPv4-mapped one on a dual-stack socket.
    V6(in6_pktinfo),
}

/// The client's and the server's address of a question.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    /// The client's address.
    pub(super) client: SocketAddr,
    source: Option<Source>,
}

impl UdpServer {
    /// Makes a server from a non-blocking socket.
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        if socket.local_addr()?.is_ipv6() {
            setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&socket, Ipv4PacketInfo, &true)?;
        }
        UdpSocket::from_std(socket).map(Self)
    }

    /// Receives a message, truncated to the size of `buffer`, and returns its length. Cancel-safe.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Ends)> {
        self.0.async_io(Interest::READABLE, || receive(&self.0, buffer)).await
    }

    /// Sends an answer to the client, from the address to which the question was sent.
    pub(super) async fn answer(&self, message: &[u8], ends: Ends) -> io::Result<()> {
        let (client, parts) = (SockaddrStorage::from(ends.client), [IoSlice::new(message)]);
        let source = ends.source.as_ref().map(|source| match source {
            Source::V4(info) => ControlMessage::Ipv4PacketInfo(info),
            Source::V6(info) => ControlMessage::Ipv6PacketInfo(info),
        });
        let send = || {
            sendmsg(self.0.as_raw_fd(), &parts, source.as_slice(), MsgFlags::empty(), Some(&client))?;
            Ok(())
        };
        self.0.async_io(Interest::WRITABLE, send).await
    }
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, Ends)> {
    let (mut parts, mut control) = ([IoSliceMut::new(buffer)], cmsg_space!(in6_pktinfo));
    let received = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        Some(control.as_mut_slice()),
        MsgFlags::empty(),
    )?;
    let client = received.address.as_ref().and_then(address);
    let client = client.ok_or_else(|| io::Error::other("a message without a source"))?;
    let source = received.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(Source::V4(in_pktinfo { ipi_ifindex: 0, ipi_addr: in_addr { s_addr: 0 }, ..info }))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => source_v6(info),
        _ => None,
    });
    Ok((received.bytes, Ends { client, source }))
}

fn source_v6(asked: in6_pktinfo) -> Option<Source> {
    let ip = std::net::Ipv6Addr::from(asked.ipi6_addr.s6_addr);
    // For other addresses, the routing table selects the interface.
    let ipi6_ifindex = if ip.is_unicast_link_local() { asked.ipi6_ifindex } else { 0 };
    (!ip.is_multicast()).then_some(Source::V6(in6_pktinfo { ipi6_ifindex, ..asked }))
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|address| SocketAddr::from(*address));
    v4.or_else(|| storage.as_sockaddr_in6().map(|address| SocketAddr::from(*address)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use webgateway_process::listen::{self, ListenOptions};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn an_answer_comes_from_the_address_that_was_asked() {
        for (listen, asked, asker) in [
            ("0.0.0.0:0", "127.0.0.5", "127.0.0.1:0"),
            ("0.0.0.0:0", "127.0.0.1", "127.0.0.9:0"),
            ("[::]:0", "127.0.0.5", "127.0.0.1:0"),
            ("[::]:0", "::1", "[::1]:0"),
            ("127.0.0.5:0", "127.0.0.5", "127.0.0.1:0"),
            ("[::1]:0", "::1", "[::1]:0"),
        ] {
            let socket = listen::udp(listen.parse().unwrap(), ListenOptions::default()).unwrap();
            let port = socket.local_addr().unwrap().port();
            let server = UdpServer::new(socket).unwrap();
            let client = UdpSocket::bind(asker).await.unwrap();
            let asked = SocketAddr::new(asked.parse().unwrap(), port);
            client.send_to(b"question", asked).await.unwrap();
            let mut buffer = [0; 64];
            let (length, ends) = server.receive(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], b"question");
            assert_eq!(ends.client.ip().to_canonical(), client.local_addr().unwrap().ip());
            server.answer(b"answer", ends).await.unwrap();
            let answer = tokio::time::timeout(LIMIT, client.recv_from(&mut buffer)).await;
            let (length, from) = answer.unwrap().unwrap();
            assert_eq!((&buffer[..length], from), (b"answer".as_slice(), asked), "{listen}");
        }
    }
}
