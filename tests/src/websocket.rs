//! WebSockets: a client, and the backend's echo.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::{WebSocketStream, client_async};

const TIMEOUT: Duration = Duration::from_secs(20);

/// A client's WebSocket.
#[derive(Debug)]
pub struct WebSocket<S> {
    stream: WebSocketStream<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Opens a WebSocket over a stream to `host`.
    pub async fn open(stream: S, host: &str, path: &str) -> Result<Self> {
        let request = format!("ws://{host}{path}").into_client_request()?;
        let opened = timeout(TIMEOUT, client_async(request, stream)).await.context("no answer")?;
        Ok(Self { stream: opened?.0 })
    }

    /// Sends a text and fails unless the same text comes back.
    pub async fn echo(&mut self, text: &str) -> Result<()> {
        self.stream.send(Message::text(text)).await?;
        let heard = timeout(TIMEOUT, self.stream.next()).await.context("no echo")?;
        match heard.context("closed")?? {
            Message::Text(echo) if echo.as_str() == text => Ok(()),
            other => bail!("expected an echo of {text:?}, got {other:?}"),
        }
    }

    /// Waits until the WebSocket is closed; returns the close code, if one was received.
    pub async fn closed(&mut self) -> Result<Option<u16>> {
        let mut code = None;
        let ended = async {
            while let Some(Ok(message)) = self.stream.next().await {
                if let Message::Close(frame) = message {
                    code = frame.map(|f| f.code.into());
                }
            }
        };
        timeout(TIMEOUT, ended).await.context("it stays open")?;
        Ok(code)
    }
}

/// Echoes every message until the client closes; for the backend, after the upgrade.
pub async fn echo_all<S: AsyncRead + AsyncWrite + Unpin>(stream: S) {
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// Returns the value of `Sec-WebSocket-Accept` for a key (RFC 6455 §4.2.2).
#[must_use]
pub fn accept_key(key: &[u8]) -> String {
    derive_accept_key(key)
}
