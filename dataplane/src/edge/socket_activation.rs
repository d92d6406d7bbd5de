//! Socket activation: the sockets that systemd holds are dealt to the workers; without any, each worker has its own.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use thiserror::Error;
use webgateway_process::{BindError, InheritedError, InheritedSockets};

use super::listener::{Purpose, bind};

/// The listening sockets of one purpose.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// The listening sockets of each worker.
    pub by_worker: Vec<Vec<TcpListener>>,
    /// The addresses listened on.
    pub addresses: Vec<IpAddr>,
    /// The port listened on.
    pub port: u16,
    /// Is true if systemd holds the sockets: what waits in them is not lost with this process.
    pub socket_activation: bool,
}

/// The listeners of one purpose cannot be had.
#[derive(Debug, Error)]
pub enum ListenError {
    /// An address cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Sockets from systemd cannot be used.
    #[error(transparent)]
    InheritedSockets(#[from] InheritedError),
    /// Sockets from systemd cannot be shared.
    #[error("the sockets `{0}` that systemd passes cannot be shared by the workers: {1}")]
    Share(&'static str, io::Error),
    /// Sockets from systemd have different ports, and clients are redirected to one.
    #[error("the sockets `{0}` that systemd passes have the ports {1} and {2}, and there can be but one")]
    Ports(&'static str, u16, u16),
}

/// Listens for `purpose`: on the sockets of its name that systemd passes, or else at `addresses`.
pub(crate) fn listen(
    inherited: &mut InheritedSockets,
    purpose: Purpose,
    addresses: &[IpAddr],
    workers: usize,
) -> Result<Listeners, ListenError> {
    let passed = inherited.tcp(purpose.what)?;
    inherited.none_left(purpose.what, "a TCP listener (ListenStream=)")?;
    if passed.is_empty() {
        let (by_worker, port) = bind(addresses, purpose, workers)?;
        return Ok(Listeners { by_worker, addresses: addresses.to_vec(), port, socket_activation: false });
    }
    let mut by_address: BTreeMap<SocketAddr, Vec<TcpListener>> = BTreeMap::new();
    let unusable = |error| ListenError::Share(purpose.what, error);
    for socket in passed {
        by_address.entry(socket.local_addr().map_err(unusable)?).or_default().push(socket);
    }
    let mut ports: Vec<u16> = by_address.keys().map(SocketAddr::port).collect();
    ports.dedup();
    if let [one, another, ..] = ports[..] {
        return Err(ListenError::Ports(purpose.what, one, another));
    }
    Ok(Listeners {
        by_worker: deal(by_address.values(), workers).map_err(unusable)?,
        addresses: by_address.keys().map(SocketAddr::ip).collect(),
        port: ports.first().copied().unwrap_or_default(),
        socket_activation: true,
    })
}

/// Deals the sockets of each address: every socket has a worker and every worker has a socket. As many sockets as
/// workers, which share a port by `ReusePort=yes`, are one for each; a single one is shared by all.
fn deal<'a>(
    addresses: impl Iterator<Item = &'a Vec<TcpListener>>,
    workers: usize,
) -> io::Result<Vec<Vec<TcpListener>>> {
    let mut by_worker: Vec<Vec<TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    for sockets in addresses {
        let turns = sockets.len().max(workers);
        for (turn, socket) in sockets.iter().cycle().take(turns).enumerate() {
            if let Some(worker) = by_worker.get_mut(turn % workers) {
                worker.push(socket.try_clone()?);
            }
        }
    }
    Ok(by_worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dealt(sockets: usize, workers: usize) -> Vec<usize> {
        let sockets: Vec<_> = (0..sockets).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let by_worker = deal([&sockets].into_iter(), workers).unwrap();
        let mut seen: Vec<_> =
            by_worker.iter().flatten().map(|socket| socket.local_addr().unwrap()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), sockets.len(), "each socket has a worker");
        by_worker.iter().map(Vec::len).collect()
    }

    #[test]
    fn every_socket_has_a_worker_and_every_worker_a_socket() {
        assert_eq!(dealt(1, 3), [1, 1, 1]);
        assert_eq!(dealt(2, 2), [1, 1]);
        assert_eq!(dealt(2, 3), [1, 1, 1]);
        assert_eq!(dealt(3, 2), [2, 1]);
    }
}
