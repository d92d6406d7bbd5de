//! DNS over TCP (RFC 7766), with limits on the number of connections, in all and by network, and on their duration.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use webgateway_process::accept::{Acceptor, Unbounded};
use webgateway_process::{Network, Slot, Slots};

use super::{Responder, Transport};

/// The maximum number of connections.
pub(super) const MAX_CONNECTIONS: usize = 512;
/// The maximum number of connections of one network.
pub(super) const MAX_OF_NETWORK: usize = 32;
/// The maximum time for one question, from waiting for its first byte to sending the answer.
const IDLE: Duration = Duration::from_secs(5);
/// The maximum duration of a connection.
const LIFETIME: Duration = Duration::from_secs(30);

/// Accepts connections forever.
pub(super) async fn serve<A: Responder>(listener: TcpListener, responder: A) -> io::Result<Infallible> {
    let slots = Slots::new(MAX_CONNECTIONS, MAX_OF_NETWORK);
    let mut connections = JoinSet::new();
    let errors = responder.metrics().accept_errors.clone();
    let acceptor = Acceptor { name: "dns", listener, admission: Unbounded, errors };
    let accepting = acceptor.run(|stream, from, ()| {
        while connections.try_join_next().is_some() {}
        // Without a slot, the connection is closed at once.
        if let Some(slot) = slots.take(Network::of(from.ip())) {
            connections.spawn(serve_connection(stream, from, responder.clone(), slot));
        }
    });
    accepting.await;
    Err(io::Error::other("the accept loop ended"))
}

async fn serve_connection<A: Responder>(
    mut stream: TcpStream,
    from: SocketAddr,
    responder: A,
    _slot: Slot<Network>,
) {
    let talk =
        async { while let Ok(Ok(true)) = timeout(IDLE, exchange(&mut stream, from, &responder)).await {} };
    let _ = timeout(LIFETIME, talk).await;
}

/// Reads one question and writes its answer. Returns false to close the connection.
async fn exchange<A: Responder>(stream: &mut TcpStream, from: SocketAddr, responder: &A) -> io::Result<bool> {
    let mut question = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut question).await?;
    let Some(answer) = responder.respond(&question, from, Transport::Tcp).await else { return Ok(false) };
    let Ok(length) = u16::try_from(answer.len()) else { return Ok(false) };
    stream.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat()).await?;
    Ok(true)
}
