//! The TLS handshake after the split, and the alert that refuses one.

mod early_data;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::Accepted;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::StartHandshake;

use self::early_data::{ClientSocket, MAX_SKIPPED};
pub(crate) use self::stream::ClientTls;
use crate::socket::Socket;

/// A fatal alert in a record of its own (RFC 8446 §6).
const fn alert(description: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, description]
}

/// `unrecognized_name` (RFC 6066 §3).
pub(crate) const UNRECOGNIZED_NAME: [u8; 7] = alert(112);
/// `internal_error`: a passthrough host whose backends are away.
pub(crate) const INTERNAL_ERROR: [u8; 7] = alert(80);

/// The bytes of a connection that are encrypted ahead of what the kernel takes: all that is read of a response ahead of
/// its client.
const UNSENT: usize = 64 * 1024;
/// The bytes of early data that are tried in vain. The TLS library tries all that it keeps again at every read.
#[expect(clippy::cast_possible_truncation, reason = "it is 1.5 MB")]
const TRIED_EARLY_DATA: u32 = 16 * MAX_SKIPPED as u32;

/// The bytes behind a ClientHello that were read with it and that the TLS library does not have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadAhead<'a> {
    bytes: &'a [u8],
    early_data: bool,
}

impl<'a> ReadAhead<'a> {
    /// Returns the last `count` bytes of `raw`; `early_data` is what the ClientHello says is behind it.
    pub(crate) fn tail(raw: &'a [u8], count: usize, early_data: bool) -> Self {
        Self { bytes: raw.get(raw.len().saturating_sub(count)..).unwrap_or_default(), early_data }
    }
}

/// Finishes a handshake within `limit`; `None` if it failed. Early data is skipped (RFC 8446 §4.2.10), up to 90 KiB as it
/// comes in records: a client has it by a ticket of another server with the same name.
pub(crate) fn finish(
    accepted: Accepted,
    read_ahead: ReadAhead<'_>,
    stream: TcpStream,
    mut config: Arc<ServerConfig>,
    limit: Duration,
) -> impl Future<Output = Option<Box<ClientTls>>> + use<> {
    if read_ahead.early_data {
        let skipping = Arc::make_mut(&mut config);
        // Tickets that it signed would promise as much; with tickets that keep no state none of it is ever accepted.
        (skipping.max_early_data_size, skipping.send_tls13_tickets) = (TRIED_EARLY_DATA, 0);
    }
    let socket = ClientSocket::new(Socket(stream), read_ahead.bytes, read_ahead.early_data);
    let handshake = StartHandshake::from_parts(accepted, socket)
        .into_stream_with(config, |connection| connection.set_buffer_limit(Some(UNSENT)));
    async move {
        let mut stream = timeout(limit, handshake).await.ok()?.ok()?;
        stream.get_mut().0.handshake_done();
        Some(Box::new(ClientTls::new(stream)))
    }
}

/// Sends an alert and ends the stream; a peer that does not take it is not waited for.
pub(crate) async fn refuse(mut stream: TcpStream, alert: &[u8]) {
    let said = async {
        stream.write_all(alert).await?;
        stream.shutdown().await
    };
    // The peer is being refused: whether it heard is no concern of ours.
    let _ = timeout(Duration::from_secs(1), said).await;
}
