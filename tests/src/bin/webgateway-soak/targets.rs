//! The addresses and hosts that clients use, and the check of their responses.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use tokio::net::{TcpSocket, TcpStream};
use webgateway_tests::backend::number_at;
use webgateway_tests::client::Client;

/// The host of a terminated route that stays.
pub(crate) const HOST: &str = "app.gw.example";
/// The host of a passthrough route that stays.
pub(crate) const PASSTHROUGH: &str = "pass.example.org";
/// The address of the dataplane's DNS relay.
pub(crate) const DNS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 53);

/// The clients and addresses of a run.
#[derive(Clone)]
pub(crate) struct Targets {
    /// A client that trusts the gateway.
    pub(crate) client: Client,
    /// A client that trusts the backend of the passthrough route.
    pub(crate) passthrough_client: Client,
    /// The https address.
    pub(crate) https: SocketAddr,
    /// The plain HTTP address.
    pub(crate) http: SocketAddr,
    /// The address of the API.
    pub(crate) rpc: SocketAddr,
}

/// Fails unless these are the first `count` numbers.
pub(crate) fn check_numbers(bytes: &[u8], count: usize) -> Result<()> {
    ensure!(bytes.len() == count, "{} of {count} bytes", bytes.len());
    let wrong = (0..).zip(bytes).find(|(at, byte)| **byte != number_at(*at));
    ensure!(wrong.is_none(), "the wrong byte at {wrong:?}");
    Ok(())
}

/// Connects from an address of loopback that no honest client has, so that limits by network are its own.
pub(crate) async fn from_elsewhere(address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 77, 0, 1], 0)))?;
    Ok(socket.connect(address).await?)
}
