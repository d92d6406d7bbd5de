//! Socket activation: distributes the sockets from systemd to the workers, or binds sockets if there are none.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use thiserror::Error;
use webgateway_process::{BindError, InheritedError, InheritedSockets};

use super::listener::{ListenerSpec, bind};

/// The listening sockets of one listener.
#[derive(Debug)]
pub(crate) struct WorkerListeners {
    /// The listening sockets of each worker.
    pub by_worker: Vec<Vec<TcpListener>>,
    /// The addresses listened on.
    pub addresses: Vec<IpAddr>,
    /// The port listened on.
    pub port: u16,
    /// Is true if systemd holds the sockets: connections that wait in them survive this process.
    pub socket_activation: bool,
}

/// The reason why a listener cannot be opened.
#[derive(Debug, Error)]
pub enum ListenError {
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Sockets from systemd cannot be used.
    #[error(transparent)]
    InheritedSockets(#[from] InheritedError),
    /// Sockets from systemd cannot be shared by the workers.
    #[error("the sockets `{0}` that systemd passes cannot be shared by the workers: {1}")]
    Share(&'static str, io::Error),
    /// Sockets from systemd have different ports, and the redirect needs a single one.
    #[error("the sockets `{0}` that systemd passes have the ports {1} and {2}: all must have the same port")]
    Ports(&'static str, u16, u16),
}

/// Opens a listener: on the sockets of its name from systemd, or else at `addresses`.
pub(crate) fn listen(
    inherited: &mut InheritedSockets,
    spec: ListenerSpec,
    addresses: &[IpAddr],
    workers: usize,
) -> Result<WorkerListeners, ListenError> {
    let passed = inherited.tcp(spec.name)?;
    inherited.none_left(spec.name, "a TCP listener (ListenStream=)")?;
    if passed.is_empty() {
        let (by_worker, port) = bind(addresses, spec, workers)?;
        return Ok(WorkerListeners {
            by_worker,
            addresses: addresses.to_vec(),
            port,
            socket_activation: false,
        });
    }
    let mut by_address: BTreeMap<SocketAddr, Vec<TcpListener>> = BTreeMap::new();
    let unusable = |error| ListenError::Share(spec.name, error);
    for socket in passed {
        by_address.entry(socket.local_addr().map_err(unusable)?).or_default().push(socket);
    }
    let mut ports: Vec<u16> = by_address.keys().map(SocketAddr::port).collect();
    ports.dedup();
    if let [one, another, ..] = ports[..] {
        return Err(ListenError::Ports(spec.name, one, another));
    }
    Ok(WorkerListeners {
        by_worker: distribute(by_address.values(), workers).map_err(unusable)?,
        addresses: by_address.keys().map(SocketAddr::ip).collect(),
        port: ports.first().copied().unwrap_or_default(),
        socket_activation: true,
    })
}

/// Distributes the sockets of each address so that every socket has a worker and every worker a socket. With one socket
/// per worker (`ReusePort=yes`) each worker gets one; a single socket is shared by all workers.
fn distribute<'a>(
    addresses: impl Iterator<Item = &'a Vec<TcpListener>>,
    workers: usize,
) -> io::Result<Vec<Vec<TcpListener>>> {
    let mut by_worker: Vec<Vec<TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    for sockets in addresses {
        let count = sockets.len().max(workers);
        for (index, socket) in sockets.iter().cycle().take(count).enumerate() {
            if let Some(worker) = by_worker.get_mut(index % workers) {
                worker.push(socket.try_clone()?);
            }
        }
    }
    Ok(by_worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets_per_worker(sockets: usize, workers: usize) -> Vec<usize> {
        let sockets: Vec<_> = (0..sockets).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let by_worker = distribute([&sockets].into_iter(), workers).unwrap();
        let mut seen: Vec<_> =
            by_worker.iter().flatten().map(|socket| socket.local_addr().unwrap()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), sockets.len(), "each socket has a worker");
        by_worker.iter().map(Vec::len).collect()
    }

    #[test]
    fn every_socket_has_a_worker_and_every_worker_a_socket() {
        assert_eq!(sockets_per_worker(1, 3), [1, 1, 1]);
        assert_eq!(sockets_per_worker(2, 2), [1, 1]);
        assert_eq!(sockets_per_worker(2, 3), [1, 1, 1]);
        assert_eq!(sockets_per_worker(3, 2), [2, 1]);
    }
}
