//! The name server's sockets: UDP and TCP on one address.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use hickory_server::Server;
use hickory_server::net::NetError;
use hickory_server::net::runtime::Time;
use hickory_server::proto::op::Edns;
use hickory_server::proto::rr::Record;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponse;
use prometheus_client::metrics::counter::Counter;
use thiserror::Error;
use tokio::time::sleep;
use tracing::warn;
use webgateway_process::Stop;

use super::txt::TxtSet;
use super::zone::Zone;

/// The largest answer over UDP, in bytes: it crosses every path in one piece (DNS flag day 2020).
const MAX_UDP: u16 = 1232;
/// A TCP connection that asks nothing for so long is closed.
const TCP_IDLE: Duration = Duration::from_secs(5);
/// How many answers may wait on one TCP connection.
const TCP_ANSWERS: usize = 16;
/// How long to wait before a server that ended is started anew.
const PAUSE: Duration = Duration::from_millis(200);
/// With port 0, how often a port is sought that is free for both protocols.
const TRIES: usize = 16;

/// Why the name server cannot listen.
#[derive(Debug, Error)]
#[error("`[dns] listen`: cannot listen on {address} ({protocol}) for DNS: {}", reason(source))]
pub struct NoDnsSocket {
    /// The address.
    pub address: SocketAddr,
    /// UDP or TCP.
    pub protocol: &'static str,
    /// What the system said.
    pub source: io::Error,
}

/// The two sockets, listening.
#[derive(Debug)]
pub struct DnsSockets {
    udp: UdpSocket,
    tcp: TcpListener,
    address: SocketAddr,
}

/// Answers for the zone; the values are those of the moment of the question.
#[derive(Debug, Clone)]
pub struct Answers {
    /// The zone.
    pub zone: Zone,
    /// Its TXT values.
    pub values: TxtSet,
    /// Counts the questions.
    pub questions: Counter,
}

impl DnsSockets {
    /// Listens on `address`, with both protocols on one port.
    pub fn bind(address: SocketAddr) -> Result<Self, NoDnsSocket> {
        let mut tries = 1;
        loop {
            match Self::bind_once(address) {
                // A free port of the one protocol may be taken of the other.
                Err(_) if address.port() == 0 && tries < TRIES => tries += 1,
                done => return done,
            }
        }
    }

    fn bind_once(wanted: SocketAddr) -> Result<Self, NoDnsSocket> {
        let fail = |protocol, address| move |source| NoDnsSocket { address, protocol, source };
        let tcp = TcpListener::bind(wanted).map_err(fail("TCP", wanted))?;
        let address = tcp.local_addr().map_err(fail("TCP", wanted))?;
        let udp = UdpSocket::bind(address).map_err(fail("UDP", address))?;
        tcp.set_nonblocking(true).map_err(fail("TCP", address))?;
        udp.set_nonblocking(true).map_err(fail("UDP", address))?;
        Ok(Self { udp, tcp, address })
    }

    /// The address listened on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the process stops. A protocol whose loop ends, as it may on a failed accept, is started anew
    /// on the same socket.
    pub async fn serve(self, answers: Answers, stop: Stop) -> io::Result<()> {
        let udp = keep("UDP", &stop, || {
            let mut server = Server::new(answers.clone());
            server.register_socket(tokio::net::UdpSocket::from_std(self.udp.try_clone()?)?);
            Ok(server)
        });
        let tcp = keep("TCP", &stop, || {
            let mut server = Server::new(answers.clone());
            let listener = tokio::net::TcpListener::from_std(self.tcp.try_clone()?)?;
            server.register_listener(listener, TCP_IDLE, TCP_ANSWERS);
            Ok(server)
        });
        tokio::try_join!(udp, tcp).map(drop)
    }
}

async fn keep<H: RequestHandler>(
    protocol: &'static str,
    stop: &Stop,
    start: impl Fn() -> io::Result<Server<H>>,
) -> io::Result<()> {
    loop {
        let mut server = start()?;
        tokio::select! {
            ended = server.block_until_done() => {
                let reason = ended.err().map(|error| error.to_string());
                warn!(protocol, reason, "the name server's loop ended, it is started anew");
                sleep(PAUSE).await;
            }
            () = stop.begun() => return Ok(()),
        }
    }
}

#[async_trait::async_trait]
impl RequestHandler for Answers {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        response_handle: R,
    ) -> ResponseInfo {
        self.questions.inc();
        let catalog = self.zone.catalog(self.values.values());
        catalog.handle_request::<_, T>(request, Capped(response_handle)).await
    }
}

/// Says [`MAX_UDP`] where the asker's own size, up to 65535, would be said: else we amplify.
#[derive(Clone)]
struct Capped<R>(R);

#[async_trait::async_trait]
impl<R: ResponseHandler> ResponseHandler for Capped<R> {
    async fn send_response<'a>(
        &mut self,
        response: MessageResponse<
            '_,
            'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
        >,
    ) -> Result<ResponseInfo, NetError> {
        let capped: Option<Edns> = response.edns().map(|edns| {
            let mut edns = edns.clone();
            edns.set_max_payload(edns.max_payload().min(MAX_UDP));
            edns
        });
        let mut response = response;
        if let Some(edns) = &capped {
            response.set_edns(edns);
        }
        self.0.send_response(response).await
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process has it, often systemd-resolved, dnsmasq or Mycelium's resolver: stop that one, or \
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
mod tests;
