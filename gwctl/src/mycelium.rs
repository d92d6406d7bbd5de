//! This machine's address on the overlay, as its Mycelium daemon tells it, for `-b self:PORT`.
//!
//! The request is our own: hyper-util's `Client` would save ten lines, and bring a pool and HTTP/2 into the program.

use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use bytes::Bytes;
use gwctl::Endpoint;
use http::Request;
use http::header::HOST;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ipnet::Ipv6Net;
use serde::Deserialize;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::{Command, Routes};

/// The URL of the daemon's HTTP API unless it was told otherwise.
const STANDARD: &str = "http://127.0.0.1:8989";
/// The path under which the daemon tells its address.
const INFO: &str = "/api/v1/admin";
const WITHIN: Duration = Duration::from_secs(3);
/// The largest answer, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// The daemon's address cannot be had.
#[derive(Debug, Error)]
pub(crate) enum AddressError {
    /// The URL is not one of plain http.
    #[error("`{0}` is not the URL of Mycelium's HTTP API, such as {STANDARD}")]
    Url(String),
    /// The daemon does not answer.
    #[error("Mycelium does not answer at {at}: {cause}")]
    Silent { at: String, cause: String },
    /// Something else answers.
    #[error("{0} does not tell a node's address (`nodeIp`, `nodeSubnet`)")]
    Foreign(String),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    /// Its address; older daemons do not say it.
    node_ip: Option<Ipv6Addr>,
    /// The network it is in.
    node_subnet: Ipv6Net,
}

impl Info {
    /// The node's address, or the one by which this machine is in the node's network.
    fn address(&self) -> Option<Ipv6Addr> {
        self.node_ip.or_else(|| {
            // Nothing is sent: the system chooses the address it would send from.
            let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).ok()?;
            socket.connect((self.node_subnet.network(), 9)).ok()?;
            match socket.local_addr().ok()?.ip() {
                IpAddr::V6(address) if self.node_subnet.contains(&address) => Some(address),
                IpAddr::V6(_) | IpAddr::V4(_) => None,
            }
        })
    }
}

/// Writes this machine's address for every `self` among the backends of a command.
pub(crate) async fn fill(command: &mut Command) -> Result<(), AddressError> {
    let (backends, api) = match command {
        Command::Routes(Routes::Create(flags)) => (&mut flags.backend, &flags.overlay.mycelium_api),
        Command::Routes(Routes::Update(flags)) => (&mut flags.backend, &flags.overlay.mycelium_api),
        _ => return Ok(()),
    };
    if backends.iter().all(|backend| port_of_self(backend).is_none()) {
        return Ok(());
    }
    let address = ask(api.as_deref().unwrap_or(STANDARD)).await?;
    for backend in backends {
        if let Some(port) = port_of_self(backend) {
            *backend = format!("[{address}]:{port}");
        }
    }
    Ok(())
}

fn port_of_self(backend: &str) -> Option<&str> {
    backend.strip_prefix("self:")
}

/// Asks the daemon at `url`.
async fn ask(url: &str) -> Result<Ipv6Addr, AddressError> {
    let invalid = || AddressError::Url(url.to_owned());
    let at = Endpoint::parse(&format!("{}{INFO}", url.trim_end_matches('/'))).map_err(|_| invalid())?;
    if at.is_tls() {
        return Err(invalid());
    }
    let silent = |cause: String| AddressError::Silent { at: at.authority().to_owned(), cause };
    let body =
        timeout(WITHIN, get(&at)).await.map_err(|_| silent(format!("not within {} s", WITHIN.as_secs())))?;
    let body = body.map_err(|error| silent(error.to_string()))?;
    let info = serde_json::from_slice::<Info>(&body).ok();
    info.and_then(|info| info.address()).ok_or_else(|| AddressError::Foreign(at.to_string()))
}

async fn get(at: &Endpoint) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    let authority = at.authority();
    let tcp = match at.uri().port_u16() {
        Some(_) => TcpStream::connect(authority).await?,
        None => TcpStream::connect(format!("{authority}:80")).await?,
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await?;
    let request = Request::get(INFO).header(HOST, authority).body(Empty::<Bytes>::new())?;
    let answer = async move {
        Limited::new(sender.send_request(request).await?.into_body(), MAX_ANSWER).collect().await
    };
    let (answer, _) = tokio::join!(answer, connection);
    Ok(answer?.to_bytes())
}
