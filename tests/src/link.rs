//! A link between a node and its controlplane that can be interrupted in one or both directions without closing it, as
//! if packets were lost.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A running relay; dropping it closes both sides.
#[derive(Debug)]
pub struct Link {
    path: PathBuf,
    up: watch::Sender<bool>,
    down: watch::Sender<bool>,
    _relay: JoinSet<()>,
}

impl Link {
    /// Relays from a socket at `node` to the one at `controlplane`.
    pub fn between(node: &Path, controlplane: &Path) -> Result<Self> {
        let listener = UnixListener::bind(node)?;
        let (up, down) = (watch::Sender::new(true), watch::Sender::new(true));
        let (to, of_up, of_down) = (controlplane.to_owned(), up.subscribe(), down.subscribe());
        let mut relay = JoinSet::new();
        relay.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = UnixStream::connect(&to).await else { continue };
                let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
                open.spawn(carry(from_near, to_far, of_up.clone()));
                open.spawn(carry(from_far, to_near, of_down.clone()));
            }
        });
        Ok(Self { path: node.to_owned(), up, down, _relay: relay })
    }

    /// Returns the path of the node's socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens or interrupts the direction from the node (`up`) and the one to the node (`down`).
    pub fn set_open(&self, up: bool, down: bool) {
        self.up.send_replace(up);
        self.down.send_replace(down);
    }
}

/// Copies bytes and the FIN while the direction is open.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut whole: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        if whole.wait_for(|whole| *whole).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        if read == 0 {
            // The peer may be gone.
            return drop(to.shutdown().await);
        }
    }
}
