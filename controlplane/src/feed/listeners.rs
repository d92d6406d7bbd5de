//! The listeners for nodes: unix sockets for local nodes, and TCP addresses with mutual TLS for remote nodes.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use prometheus_client::metrics::counter::Counter;
use rustls::ServerConfig;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tracing::debug;
use webgateway_process::accept::{Acceptor, Unbounded};
use webgateway_process::listen::{self, ListenOptions};
use webgateway_process::{BindError, Network, Slot, Slots, Tasks};

use super::members::Members;
use super::peer::Peer;
use super::preface::{FeedConnection, Transport};
use super::socket::{FeedSocket, FeedSocketError};
use crate::config::FeedAddress;
use crate::pki::authority::member;

/// The maximum number of concurrent connections of peers that are not enrolled, including those in a handshake.
const MAX_UNENROLLED: usize = 256;
/// The maximum number of accepted connections that wait to be served.
const QUEUE: usize = 64;

/// The listening sockets of the feed.
#[derive(Debug, Default)]
pub(crate) struct FeedListeners {
    local: Vec<FeedSocket>,
    remote: Vec<TcpListener>,
}

/// A listener cannot be opened.
#[derive(Debug, Error)]
pub enum FeedListenError {
    /// A unix socket cannot be opened.
    #[error(transparent)]
    Unix(#[from] FeedSocketError),
    /// A TCP address cannot be bound.
    #[error(transparent)]
    Tcp(#[from] BindError),
}

/// An acceptor of connections, which performs the TLS handshakes of remote peers.
#[derive(Clone)]
pub(crate) struct FeedAcceptor {
    /// The TLS configuration for remote nodes; `None` if remote nodes are refused.
    pub tls: Option<Arc<ServerConfig>>,
    /// The list of enrolled nodes.
    pub members: Members,
    /// The time limit of the TLS handshake, and of the HTTP/2 preface after it.
    pub limit: Duration,
    /// The number of connections that violate the protocol.
    pub protocol_errors: Counter,
    /// The task group of listeners and handshakes.
    pub tasks: Tasks,
}

impl FeedListeners {
    /// Binds all addresses. A socket `inherited` from systemd takes the place of the configured unix sockets.
    pub(crate) fn bind(
        listen: &[FeedAddress],
        inherited: Option<FeedSocket>,
    ) -> Result<Self, FeedListenError> {
        let mut listeners = Self::default();
        let is_inherited = inherited.is_some();
        let options = ListenOptions::among(listen.iter().filter_map(|address| match address {
            FeedAddress::Tcp(address) => Some(address.ip()),
            FeedAddress::Unix(_) => None,
        }));
        listeners.local.extend(inherited);
        for address in listen {
            match address {
                FeedAddress::Unix(_) if is_inherited => {}
                FeedAddress::Unix(path) => listeners.local.push(FeedSocket::bind(path)?),
                FeedAddress::Tcp(address) => listeners.remote.push(tcp(*address, options)?),
            }
        }
        Ok(listeners)
    }

    /// Returns the TCP addresses, which are for remote nodes.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.remote.iter().filter_map(|listener| listener.local_addr().ok())
    }

    /// Starts to accept, and returns the connections of all listeners. The stream ends when the process stops.
    pub(super) fn incoming(
        self,
        acceptor: &FeedAcceptor,
    ) -> impl Stream<Item = io::Result<FeedConnection>> + use<> {
        let (queue, connections) = mpsc::channel(QUEUE);
        for socket in self.local {
            acceptor.tasks.essential("feed socket", acceptor.clone().local(socket, queue.clone()));
        }
        let unenrolled = Slots::new(MAX_UNENROLLED, usize::MAX);
        for listener in self.remote {
            let accepting = acceptor.clone().remote(listener, unenrolled.clone(), queue.clone());
            acceptor.tasks.essential("feed listener", accepting);
        }
        ReceiverStream::new(connections).map(Ok)
    }
}

type Queue = mpsc::Sender<FeedConnection>;

/// A connection from a remote peer before its TLS handshake.
struct Incoming {
    stream: TcpStream,
    address: SocketAddr,
    slot: Slot<Network>,
}

impl FeedAcceptor {
    async fn local(self, socket: FeedSocket, queue: Queue) -> Result<(), Infallible> {
        let stop = self.tasks.stop().clone();
        let errors = self.tasks.metrics().accept_errors("feed");
        let acceptor = Acceptor { name: "feed", listener: socket, admission: queue, errors };
        let accepting = acceptor.run(|stream, _, permit: OwnedPermit<FeedConnection>| {
            let transport = Transport::Unix(stream);
            permit.send(FeedConnection::new(
                transport,
                Peer::Local,
                self.limit,
                self.protocol_errors.clone(),
            ));
        });
        tokio::select! {
            () = accepting => {}
            () = stop.begun() => {}
        }
        Ok(())
    }

    async fn remote(
        self,
        listener: TcpListener,
        unenrolled: Slots<Network>,
        queue: Queue,
    ) -> Result<(), Infallible> {
        let stop = self.tasks.stop().clone();
        let errors = self.tasks.metrics().accept_errors("feed");
        let acceptor = Acceptor { name: "feed", listener, admission: Unbounded, errors };
        let accepting = acceptor.run(|stream, address, ()| {
            let (slot, evicted) = unenrolled.take_or_evict(Network::of(address.ip()));
            if evicted {
                self.protocol_errors.inc();
                debug!(%address, "too many unenrolled connections, closing one");
            }
            let connection = Incoming { stream, address, slot };
            self.tasks.spawn("feed handshake", self.clone().handshake(connection, queue.clone()));
        });
        tokio::select! {
            () = accepting => {}
            () = stop.begun() => {}
        }
        Ok(())
    }

    async fn handshake(self, incoming: Incoming, queue: Queue) {
        let Incoming { stream, address, mut slot } = incoming;
        let Some(tls) = self.tls.clone() else { return };
        let handshake = async {
            stream.set_nodelay(true)?;
            TlsAcceptor::from(tls).accept(stream).await
        };
        let stream = tokio::select! {
            result = timeout(self.limit, handshake) => match result {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    self.protocol_errors.inc();
                    return debug!(%address, %error, "TLS handshake failed");
                }
                Err(_) => {
                    self.protocol_errors.inc();
                    return debug!(%address, "TLS handshake timed out");
                }
            },
            () = slot.evicted() => return,
            () = self.tasks.stop().begun() => return,
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = Peer::Remote { address, member: certificate.and_then(member) };
        let connection = FeedConnection::new(
            Transport::Tls(Box::new(stream)),
            peer,
            self.limit,
            self.protocol_errors.clone(),
        );
        let connection = match self.members.admit(&peer) {
            Ok(_) => connection,
            Err(_) => connection.unenrolled(slot),
        };
        // Fails only when the process stops.
        let _ = queue.send(connection).await;
    }
}

fn tcp(address: SocketAddr, options: ListenOptions) -> Result<TcpListener, BindError> {
    let listener = listen::tcp(address, options).and_then(TcpListener::from_std);
    listener.map_err(|source| BindError {
        what: "remote dataplanes",
        address: address.to_string(),
        key: "feed.listen",
        source,
    })
}
