//! A TCP relay that delays bytes in both directions.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// A running relay; dropping it closes it on both sides.
#[derive(Debug)]
pub struct Delay {
    address: SocketAddr,
    _relay: JoinSet<()>,
}

impl Delay {
    /// Relays from `address` to `backend`, with a delay of half of `round_trip` in each direction.
    pub async fn between(address: SocketAddr, backend: SocketAddr, round_trip: Duration) -> Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("relay on {address}"))?;
        let address = listener.local_addr()?;
        let mut relay = JoinSet::new();
        relay.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                open.spawn(async move {
                    let Ok(far) = TcpStream::connect(backend).await else { return };
                    let both = [&near, &far].map(|stream| stream.set_nodelay(true));
                    if both.iter().any(Result::is_err) {
                        return;
                    }
                    let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
                    let late = round_trip / 2;
                    tokio::join!(carry(from_near, to_far, late), carry(from_far, to_near, late));
                });
                while open.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, _relay: relay })
    }

    /// Returns the listen address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Copies bytes and the FIN with a delay.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, late: Duration) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let reading = async move {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = from.read(&mut buffer).await.unwrap_or(0);
            if sender.send((Instant::now() + late, buffer[..read].to_vec())).is_err() || read == 0 {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, bytes)) = receiver.recv().await {
            sleep_until(due).await;
            let written = if bytes.is_empty() { to.shutdown().await } else { to.write_all(&bytes).await };
            if written.is_err() {
                return;
            }
        }
    };
    tokio::join!(reading, writing);
}
