//! The listening sockets of the process, which it opens itself or inherits from systemd.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
use tokio::time::interval;
use tracing::debug;
use webgateway_dns::{DnsListenError, DnsSockets};
use webgateway_process::admin::{self, AdminServer};
use webgateway_process::listen::ListenOptions;
use webgateway_process::{BindError, Inherited, InheritedError, Stop, at_most_one, network_stack, reachable};
use webgateway_proto::model::ProcessListeners;

use crate::api::server::RpcServer;
use crate::config::Config;
use crate::domain::GatewayListeners;
use crate::feed::listeners::{FeedListenError, FeedListeners};
use crate::feed::socket::FeedSocket;

/// The names of the sockets that the process accepts from systemd.
pub(crate) const SOCKETS: &[&str] = &["rpc", "feed", "dns"];

/// The interval at which the addresses of this machine are read.
const ADDRESS_CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// The listening sockets of the process.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// The listener of the API.
    pub rpc: RpcServer,
    /// The listeners of the feed.
    pub feed: FeedListeners,
    /// The sockets of the name server.
    pub dns: DnsSockets,
    /// The listener of metrics and probes.
    pub admin: AdminServer,
}

/// A listening socket cannot be opened.
#[derive(Debug, Error)]
pub enum ListenError {
    /// A listener cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A listener of the feed cannot be opened.
    #[error(transparent)]
    Feed(#[from] FeedListenError),
    /// The name server's sockets cannot be opened.
    #[error(transparent)]
    Dns(#[from] DnsListenError),
    /// Sockets from systemd cannot be used.
    #[error(transparent)]
    Inherited(#[from] InheritedError),
    /// A socket from systemd cannot be used.
    #[error("the socket `{0}` that systemd passes cannot be used: {1}")]
    Unusable(&'static str, io::Error),
    /// Systemd passes only one of the name server's two sockets.
    #[error("the socket unit named `dns` needs both ListenDatagram= and ListenStream=, at one address")]
    IncompleteDns,
}

impl Sockets {
    /// Returns the addresses of all TCP listeners.
    #[must_use]
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let own = [self.rpc.local_addr(), self.dns.local_addr(), self.admin.local_addr()];
        own.into_iter().chain(self.feed.addresses()).collect()
    }

    /// Takes the sockets that systemd passes, and opens the others.
    pub(crate) async fn open(config: &Config, mut inherited: Inherited) -> Result<Self, ListenError> {
        let sockets = Self {
            rpc: rpc(config, &mut inherited).await?,
            feed: feed(config, &mut inherited)?,
            dns: dns(config, &mut inherited)?,
            admin: admin::bind(config.admin_listen).await?,
        };
        inherited.none_left("rpc", "a TCP listener (ListenStream=)")?;
        inherited.none_left("feed", "a unix stream listener (ListenStream=/…)")?;
        inherited.none_left("dns", "a UDP socket or a TCP listener")?;
        Ok(sockets)
    }
}

/// Returns the listeners bound to these addresses, with the addresses at which they can be reached. If the system's
/// addresses cannot be read, unspecified listeners have only their bound address.
#[must_use]
pub(crate) fn listeners_at(bound: &[SocketAddr]) -> ProcessListeners {
    let addresses = reachable(bound).unwrap_or_else(|error| {
        debug!(%error, "cannot read the addresses of this machine");
        bound.to_vec()
    });
    ProcessListeners { stack: network_stack().to_owned(), addresses }
}

/// Updates the gateway's known listeners when addresses of this machine change, until the process stops. An overlay may
/// assign addresses after the start.
pub(crate) async fn follow_addresses(
    bound: Vec<SocketAddr>,
    listeners: GatewayListeners,
    stop: Stop,
) -> Result<(), Infallible> {
    let mut ticks = interval(ADDRESS_CHECK_INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => listeners.set_controlplane(listeners_at(&bound)),
            () = stop.begun() => return Ok(()),
        }
    }
}

async fn rpc(config: &Config, inherited: &mut Inherited) -> Result<RpcServer, ListenError> {
    match at_most_one("rpc", "TCP listeners", inherited.tcp("rpc")?)? {
        Some(socket) => RpcServer::inherit(socket).map_err(|error| ListenError::Unusable("rpc", error)),
        None => Ok(RpcServer::bind(config.rpc_listen).await?),
    }
}

fn feed(config: &Config, inherited: &mut Inherited) -> Result<FeedListeners, ListenError> {
    let socket = at_most_one("feed", "unix stream listeners", inherited.unix("feed")?)?;
    let socket = socket.map(FeedSocket::inherit).transpose();
    let socket = socket.map_err(|error| ListenError::Unusable("feed", error))?;
    Ok(FeedListeners::bind(&config.feed.listen, socket)?)
}

fn dns(config: &Config, inherited: &mut Inherited) -> Result<DnsSockets, ListenError> {
    let udp = at_most_one("dns", "UDP sockets", inherited.udp("dns")?)?;
    let tcp = at_most_one("dns", "TCP listeners", inherited.tcp("dns")?)?;
    match (udp, tcp) {
        (Some(udp), Some(tcp)) => {
            DnsSockets::inherit(udp, tcp).map_err(|error| ListenError::Unusable("dns", error))
        }
        (None, None) => Ok(DnsSockets::bind(config.dns_listen, ListenOptions::default())?),
        (Some(_), None) | (None, Some(_)) => Err(ListenError::IncompleteDns),
    }
}
