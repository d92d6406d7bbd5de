//! DNS over TCP (RFC 7766): a bounded number of connections, few of one network, each for a short while.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::limit::Network;
use super::{Answerer, Transport};

/// How many connections there may be.
pub(super) const MAX_CONNECTIONS: usize = 512;
/// How many of them may be of one network.
pub(super) const MAX_OF_NETWORK: usize = 32;
/// How long one question, from the first byte waited for to the last one answered, may take.
const IDLE: Duration = Duration::from_secs(5);
/// How long a connection may last.
const LIFETIME: Duration = Duration::from_secs(30);
/// How long to wait when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is connected.
#[derive(Debug, Clone, Default)]
struct Seats(Arc<Mutex<HashMap<Network, usize>>>);

#[derive(Debug)]
struct Seat {
    seats: Seats,
    network: Network,
}

/// Accepts connections for ever.
pub(super) async fn serve<A: Answerer>(listener: TcpListener, answers: A) -> io::Result<Infallible> {
    let (seats, mut connections) = (Seats::default(), JoinSet::new());
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                // Without a seat it is closed at once.
                if let Some(seat) = seats.take(Network::of(from.ip())) {
                    connections.spawn(attend(stream, from, answers.clone(), seat));
                }
            }
            // Of one connection that is gone already.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                debug!(%error, "cannot accept a DNS connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn attend<A: Answerer>(mut stream: TcpStream, from: SocketAddr, answers: A, _seat: Seat) {
    let talk =
        async { while let Ok(Ok(true)) = timeout(IDLE, exchange(&mut stream, from, &answers)).await {} };
    let _ = timeout(LIFETIME, talk).await;
}

/// One question and its answer; `false` if it deserves none.
async fn exchange<A: Answerer>(stream: &mut TcpStream, from: SocketAddr, answers: &A) -> io::Result<bool> {
    let mut question = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut question).await?;
    let Some(answer) = answers.answer(&question, from, Transport::Tcp).await else { return Ok(false) };
    let Ok(length) = u16::try_from(answer.len()) else { return Ok(false) };
    stream.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat()).await?;
    Ok(true)
}

impl Seats {
    fn take(&self, network: Network) -> Option<Seat> {
        let mut taken = self.taken();
        let all: usize = taken.values().sum();
        let own = taken.get(&network).copied().unwrap_or_default();
        if all >= MAX_CONNECTIONS || own >= MAX_OF_NETWORK {
            return None;
        }
        taken.insert(network, own + 1);
        Some(Seat { seats: self.clone(), network })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Network, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        if let Some(own) = taken.get_mut(&self.network) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_bounded_in_all_and_for_each_network() {
        let seats = Seats::default();
        let mut held = Vec::new();
        while let Some(seat) = seats.take(Network::V4([0, 0, 0])) {
            held.push(seat);
        }
        assert_eq!(held.len(), MAX_OF_NETWORK);
        for i in 1..=255 {
            held.extend(seats.take(Network::V4([0, 0, i])));
            held.extend(seats.take(Network::V4([0, 0, i])));
        }
        assert_eq!(held.len(), MAX_CONNECTIONS);
        assert!(seats.taken().len() <= MAX_CONNECTIONS, "those turned away are not remembered");
        drop(held);
        assert!(seats.taken().is_empty());
    }
}
