//! The TLS handshake after the split, and alerts that refuse a connection.

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

/// Returns a record with a fatal alert (RFC 8446 §6).
const fn alert(description: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, description]
}

/// The alert `unrecognized_name` (RFC 6066 §3).
pub(crate) const UNRECOGNIZED_NAME: [u8; 7] = alert(112);
/// The alert `access_denied`, for a client that the route does not admit (RFC 8446 §6.2).
pub(crate) const ACCESS_DENIED: [u8; 7] = alert(49);
/// The alert `internal_error`, for a passthrough whose backends are unreachable (RFC 8446 §6.2).
pub(crate) const INTERNAL_ERROR: [u8; 7] = alert(80);

/// The maximum size of a connection's encrypted output that the kernel has not accepted, in bytes.
const UNSENT: usize = 64 * 1024;
/// The limit on early data that the TLS library tries to decrypt in vain, in bytes. It counts buffered bytes again at
/// each read, hence the factor.
#[expect(clippy::cast_possible_truncation, reason = "it is 1.5 MB")]
const TRIED_EARLY_DATA: u32 = 16 * MAX_SKIPPED as u32;

/// The bytes that were read after a ClientHello and not given to the TLS library.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadAhead<'a> {
    bytes: &'a [u8],
    early_data: bool,
}

impl<'a> ReadAhead<'a> {
    /// Returns the last `count` bytes of `raw`. `early_data` is true if the ClientHello announces early data.
    pub(crate) fn tail(raw: &'a [u8], count: usize, early_data: bool) -> Self {
        Self { bytes: raw.get(raw.len().saturating_sub(count)..).unwrap_or_default(), early_data }
    }
}

/// Finishes a handshake within `limit`; resolves to `None` if it fails.
///
/// Early data is skipped, up to 90 KiB with its record headers (RFC 8446 §4.2.10). A client may send it with a session
/// ticket of another server of the same name.
pub(crate) fn finish(
    accepted: Accepted,
    read_ahead: ReadAhead<'_>,
    stream: TcpStream,
    mut config: Arc<ServerConfig>,
    limit: Duration,
) -> impl Future<Output = Option<Box<ClientTls>>> + use<> {
    if read_ahead.early_data {
        let skipping = Arc::make_mut(&mut config);
        // A ticket would promise this limit to the client, so none is sent. Early data is never accepted, as tickets
        // are stateless.
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

/// Sends an alert and closes the connection, within a second.
pub(crate) async fn refuse(mut stream: TcpStream, alert: &[u8]) {
    let sending = async {
        stream.write_all(alert).await?;
        stream.shutdown().await
    };
    // The client is refused in any case; the alert is best effort.
    let _ = timeout(Duration::from_secs(1), sending).await;
}
