//! The lookup of this machine's overlay address, for `-b self:PORT`. The local Mycelium daemon's HTTP API returns it.
//!
//! hyper-util's `Client` would save ten lines here, but add a connection pool and HTTP/2 to the program.

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

/// The default URL of the daemon's HTTP API.
const DEFAULT_API: &str = "http://127.0.0.1:8989";
/// The path of the daemon's information about its node.
const INFO_PATH: &str = "/api/v1/admin";
/// The maximum time for the request.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The maximum size of the response, in bytes.
const MAX_RESPONSE: usize = 64 * 1024;

/// The overlay address cannot be determined.
#[derive(Debug, Error)]
pub(crate) enum AddressError {
    /// The URL is not a plain http URL.
    #[error("`{0}` is not the URL of Mycelium's HTTP API, such as {DEFAULT_API}")]
    Url(String),
    /// There is no response.
    #[error("Mycelium's API at {authority} does not respond: {cause}")]
    NoResponse { authority: String, cause: String },
    /// The response does not contain the node's address.
    #[error("the response of {0} does not contain the node's address (`nodeIp` or `nodeSubnet`)")]
    UnexpectedResponse(String),
}

/// The daemon's information about its node.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeInfo {
    /// The node's address; older daemons leave it out.
    node_ip: Option<Ipv6Addr>,
    /// The node's network.
    node_subnet: Ipv6Net,
}

impl NodeInfo {
    /// Returns the node's address, or else this machine's address in the node's network.
    fn address(&self) -> Option<Ipv6Addr> {
        self.node_ip.or_else(|| {
            // Connecting a UDP socket sends nothing, but makes the system choose the source address.
            let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).ok()?;
            socket.connect((self.node_subnet.network(), 9)).ok()?;
            match socket.local_addr().ok()?.ip() {
                IpAddr::V6(address) if self.node_subnet.contains(&address) => Some(address),
                IpAddr::V6(_) | IpAddr::V4(_) => None,
            }
        })
    }
}

/// Replaces every `self` among the backends of a command with this machine's overlay address.
pub(crate) async fn resolve_self_backends(command: &mut Command) -> Result<(), AddressError> {
    let (backends, options, api) = match command {
        Command::Routes(Routes::Create(flags)) => {
            (&mut flags.backend, &mut flags.options, &flags.mycelium.mycelium_api)
        }
        Command::Routes(Routes::Update(flags)) => {
            (&mut flags.backend, &mut flags.options, &flags.mycelium.mycelium_api)
        }
        _ => return Ok(()),
    };
    let is_self = |backend: &str| port_of_self(backend).is_some();
    if !backends.iter().any(|backend| is_self(backend)) && !options.backends().any(is_self) {
        return Ok(());
    }
    let address = fetch_address(api.as_deref().unwrap_or(DEFAULT_API)).await?;
    let resolve = |backend: &str| port_of_self(backend).map(|port| format!("[{address}]:{port}"));
    for backend in backends {
        if let Some(resolved) = resolve(backend) {
            *backend = resolved;
        }
    }
    options.replace_backends(resolve);
    Ok(())
}

fn port_of_self(backend: &str) -> Option<&str> {
    backend.strip_prefix("self:")
}

/// Fetches the address from the API at `url`.
async fn fetch_address(url: &str) -> Result<Ipv6Addr, AddressError> {
    let invalid = || AddressError::Url(url.to_owned());
    let endpoint =
        Endpoint::parse(&format!("{}{INFO_PATH}", url.trim_end_matches('/'))).map_err(|_| invalid())?;
    if endpoint.is_tls() {
        return Err(invalid());
    }
    let no_response =
        |cause: String| AddressError::NoResponse { authority: endpoint.authority().to_owned(), cause };
    let body = timeout(TIMEOUT, fetch_info(&endpoint))
        .await
        .map_err(|_| no_response(format!("timeout after {} s", TIMEOUT.as_secs())))?;
    let body = body.map_err(|error| no_response(error.to_string()))?;
    let info = serde_json::from_slice::<NodeInfo>(&body).ok();
    info.and_then(|info| info.address()).ok_or_else(|| AddressError::UnexpectedResponse(endpoint.to_string()))
}

async fn fetch_info(endpoint: &Endpoint) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    let authority = endpoint.authority();
    let tcp = match endpoint.uri().port_u16() {
        Some(_) => TcpStream::connect(authority).await?,
        None => TcpStream::connect(format!("{authority}:80")).await?,
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await?;
    let request = Request::get(INFO_PATH).header(HOST, authority).body(Empty::<Bytes>::new())?;
    let response = async move {
        Limited::new(sender.send_request(request).await?.into_body(), MAX_RESPONSE).collect().await
    };
    let (response, _) = tokio::join!(response, connection);
    Ok(response?.to_bytes())
}
