//! The TLS handshake after the split, and the alert that refuses one.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::Accepted;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::{StartHandshake, TlsStream};

use crate::socket::Socket;

/// A fatal alert in a record of its own (RFC 8446 §6).
const fn alert(description: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, description]
}

/// `unrecognized_name` (RFC 6066 §3).
pub(crate) const UNRECOGNIZED_NAME: [u8; 7] = alert(112);
/// `internal_error`: a passthrough host whose backends are away.
pub(crate) const INTERNAL_ERROR: [u8; 7] = alert(80);

/// Finishes a handshake within `limit`; `None` if it failed.
pub(crate) async fn finish(
    accepted: Accepted,
    stream: TcpStream,
    config: Arc<ServerConfig>,
    limit: Duration,
) -> Option<Box<TlsStream<Socket>>> {
    let handshake = StartHandshake::from_parts(accepted, Socket(stream)).into_stream(config);
    timeout(limit, handshake).await.ok()?.ok().map(Box::new)
}

/// Returns whether HTTP/2 was agreed on.
#[must_use]
pub(crate) fn is_h2(stream: &TlsStream<Socket>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
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
