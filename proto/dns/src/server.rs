//! The sockets of a name server: UDP and TCP on one address.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::warn;
use webgateway_process::Stop;
use webgateway_process::listen::{self, ListenOptions};

use super::udp::{Ends, UdpServer};
use super::{Responder, Transport, tcp};

/// The maximum size of a question over UDP, in bytes.
const MAX_QUESTION: usize = 4096;
/// The maximum number of UDP questions answered concurrently.
const MAX_OPEN: usize = 1024;
/// The pause before a failed listener is restarted.
const PAUSE: Duration = Duration::from_millis(200);
/// The number of attempts to find a port that is free for both protocols, for port 0.
const TRIES: usize = 16;

/// An address on which the name server cannot listen.
#[derive(Debug, Error)]
#[error("`[dns] listen`: cannot listen on {address} ({protocol}) for DNS: {}", reason(source))]
pub struct DnsListenError {
    /// The address.
    pub address: SocketAddr,
    /// The protocol, UDP or TCP.
    pub protocol: &'static str,
    /// The system's error.
    pub source: io::Error,
}

/// A UDP socket and a TCP listener on the same address.
#[derive(Debug)]
pub struct DnsSockets {
    udp: UdpSocket,
    tcp: TcpListener,
    address: SocketAddr,
}

impl DnsSockets {
    /// Binds both protocols at `address`, on the same port.
    pub fn bind(address: SocketAddr, options: ListenOptions) -> Result<Self, DnsListenError> {
        let mut tries = 1;
        loop {
            match Self::bind_once(address, options) {
                // A port that is free for TCP may be in use for UDP.
                Err(_) if address.port() == 0 && tries < TRIES => tries += 1,
                done => return done,
            }
        }
    }

    /// Makes the sockets from those that systemd passes.
    pub fn inherit(udp: UdpSocket, tcp: TcpListener) -> io::Result<Self> {
        let address = udp.local_addr()?;
        Ok(Self { udp, tcp, address })
    }

    fn bind_once(wanted: SocketAddr, options: ListenOptions) -> Result<Self, DnsListenError> {
        let fail = |protocol, address| move |source| DnsListenError { address, protocol, source };
        let tcp = listen::tcp(wanted, options).map_err(fail("TCP", wanted))?;
        let address = tcp.local_addr().map_err(fail("TCP", wanted))?;
        let udp = listen::udp(address, options).map_err(fail("UDP", address))?;
        Ok(Self { udp, tcp, address })
    }

    /// Returns the bound address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers questions until the process stops. A failed listener is counted and restarted on the same socket.
    pub async fn serve<A: Responder>(self, responder: A, stop: Stop) -> io::Result<()> {
        let udp = supervise("UDP", &responder, &stop, || {
            Ok(serve_udp(UdpServer::new(self.udp.try_clone()?)?, responder.clone()))
        });
        let tcp = supervise("TCP", &responder, &stop, || {
            let listener = tokio::net::TcpListener::from_std(self.tcp.try_clone()?)?;
            Ok(tcp::serve(listener, responder.clone()))
        });
        tokio::try_join!(udp, tcp).map(drop)
    }
}

/// Runs a listener in its own task, so that its panic does not end the other listener.
async fn supervise<A, F>(
    protocol: &'static str,
    responder: &A,
    stop: &Stop,
    start: impl Fn() -> io::Result<F>,
) -> io::Result<()>
where
    A: Responder,
    F: Future<Output = io::Result<Infallible>> + Send + 'static,
{
    loop {
        let mut task = JoinSet::new();
        task.spawn(start()?);
        let reason = tokio::select! {
            ended = task.join_next() => match ended {
                Some(Ok(Err(error))) => error.to_string(),
                Some(Err(error)) => error.to_string(),
                Some(Ok(Ok(never))) => match never {},
                None => String::new(),
            },
            () = stop.begun() => return Ok(()),
        };
        responder.metrics().restarts.inc();
        warn!(protocol, reason, "DNS listener failed, restarting");
        sleep(PAUSE).await;
    }
}

/// Answers questions concurrently, because an answer may come from another machine. Excess questions are dropped, and
/// resolvers retry them.
async fn serve_udp<A: Responder>(socket: UdpServer, responder: A) -> io::Result<Infallible> {
    let (socket, mut open) = (Arc::new(socket), JoinSet::new());
    let mut buffer = vec![0; MAX_QUESTION];
    loop {
        let (length, ends) = socket.receive(&mut buffer).await?;
        while open.try_join_next().is_some() {}
        let Some(question) = buffer.get(..length).filter(|_| can_be_answered(ends.client)) else { continue };
        if open.len() < MAX_OPEN {
            open.spawn(answer_udp(Arc::clone(&socket), responder.clone(), question.to_vec(), ends));
        }
    }
}

async fn answer_udp<A: Responder>(socket: Arc<UdpServer>, responder: A, question: Vec<u8>, ends: Ends) {
    if let Some(answer) = responder.respond(&question, ends.client, Transport::Udp).await {
        // An unreachable client must not end the listener.
        let _ = socket.answer(&answer, ends).await;
    }
}

fn can_be_answered(from: SocketAddr) -> bool {
    let ip = from.ip();
    from.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process uses it, often systemd-resolved, dnsmasq or Mycelium's resolver: stop that process, or \
             name one address of this machine instead of all, such as 203.0.113.1:53"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DnsMetrics;

    #[derive(Clone, Default)]
    struct SilentResponder(DnsMetrics);

    impl Responder for SilentResponder {
        async fn respond(&self, _: &[u8], _: SocketAddr, _: Transport) -> Option<Vec<u8>> {
            None
        }

        fn metrics(&self) -> &DnsMetrics {
            &self.0
        }
    }

    #[tokio::test]
    async fn a_failed_listener_is_counted_and_restarted() {
        let (responder, stop) = (SilentResponder::default(), Stop::new());
        let starts = std::sync::atomic::AtomicU32::new(0);
        let started = stop.clone();
        let start = || {
            let (start, stop) = (starts.fetch_add(1, std::sync::atomic::Ordering::Relaxed), started.clone());
            Ok(async move {
                match start {
                    0 => Err(io::Error::other("gone")),
                    1 => panic!("as from a malformed question"),
                    _ => {
                        stop.begin();
                        std::future::pending().await
                    }
                }
            })
        };
        supervise("UDP", &responder, &stop, start).await.unwrap();
        assert_eq!(responder.0.restarts.get(), 2);
    }

    #[test]
    fn a_port_in_use_is_reported_with_the_key_and_the_likely_owners() {
        for protocol in ["TCP", "UDP"] {
            // The address is used by this test only, so that no other test binds the same port.
            let tcp = TcpListener::bind("127.0.7.1:0").unwrap();
            let udp = UdpSocket::bind("127.0.7.1:0").unwrap();
            let taken = if protocol == "TCP" { tcp.local_addr() } else { udp.local_addr() };
            let error = DnsSockets::bind(taken.unwrap(), ListenOptions::default()).unwrap_err().to_string();
            for word in ["[dns] listen", "systemd-resolved", "dnsmasq", "Mycelium", protocol] {
                assert!(error.contains(word), "{word}: {error}");
            }
        }
    }
}
