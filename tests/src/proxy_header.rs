//! PROXY protocol headers (HAProxy's proxy-protocol.txt): those of a load balancer in front of the gateway, and a reader
//! of those that the gateway sends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The first bytes of a header of version 2.
pub const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header that the gateway sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedHeader {
    /// The version, 1 or 2.
    pub version: u8,
    /// The announced client and the address it connected to; `None` for a connection of the gateway itself.
    pub endpoints: Option<(SocketAddr, SocketAddr)>,
    /// The server name in `PP2_TYPE_AUTHORITY`.
    pub authority: Option<String>,
}

/// Returns a header of version 1.
#[must_use]
pub fn v1(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
}

/// Returns a header of version 2 with these extensions (TLVs).
#[must_use]
pub fn v2(source: SocketAddr, destination: SocketAddr, extensions: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    for ip in [source.ip(), destination.ip()] {
        match ip {
            IpAddr::V4(v4) => content.extend(v4.octets()),
            IpAddr::V6(v6) => content.extend(v6.octets()),
        }
    }
    content.extend(source.port().to_be_bytes());
    content.extend(destination.port().to_be_bytes());
    content.extend(extensions);
    v2_raw(0x21, if source.is_ipv4() { 0x11 } else { 0x21 }, &content)
}

/// Returns a header of version 2 with any command, family and content.
#[must_use]
pub fn v2_raw(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    // Longer contents are cut, which no scenario uses.
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    [&SIGNATURE[..], &[command, family], &length.to_be_bytes(), content].concat()
}

/// Reads a header, and no byte after it.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<ReceivedHeader> {
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.context("no PROXY protocol header")?;
    if start == *SIGNATURE { read_v2(stream).await } else { read_v1(stream, &start).await }
}

async fn read_v1(stream: &mut (impl AsyncRead + Unpin), start: &[u8]) -> Result<ReceivedHeader> {
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        ensure!(line.len() < 107, "the line is too long: {line:?}");
        line.push(stream.read_u8().await?);
    }
    let text = String::from_utf8(line)?;
    let fields: Vec<&str> = text.trim_end().split(' ').collect();
    let endpoints = match fields[..] {
        ["PROXY", "UNKNOWN"] => None,
        ["PROXY", family @ ("TCP4" | "TCP6"), source, destination, from, to] => {
            let end =
                |ip: &str, port: &str| Ok::<_, anyhow::Error>(SocketAddr::new(ip.parse()?, port.parse()?));
            let (source, destination) = (end(source, from)?, end(destination, to)?);
            ensure!(
                source.is_ipv4() == (family == "TCP4") && source.is_ipv4() == destination.is_ipv4(),
                "{text}"
            );
            Some((source, destination))
        }
        _ => bail!("not a PROXY protocol line: {text:?}"),
    };
    Ok(ReceivedHeader { version: 1, endpoints, authority: None })
}

async fn read_v2(stream: &mut (impl AsyncRead + Unpin)) -> Result<ReceivedHeader> {
    let (command, family) = (stream.read_u8().await?, stream.read_u8().await?);
    let mut content = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut content).await?;
    let mut rest = content.as_slice();
    let endpoints = match (command, family) {
        (0x20, _) => return Ok(ReceivedHeader { version: 2, endpoints: None, authority: None }),
        (0x21, 0x11) => {
            let mut ip =
                async || Ok::<_, anyhow::Error>(IpAddr::from(Ipv4Addr::from(rest.read_u32().await?)));
            (ip().await?, ip().await?)
        }
        (0x21, 0x21) => {
            let mut ip =
                async || Ok::<_, anyhow::Error>(IpAddr::from(Ipv6Addr::from(rest.read_u128().await?)));
            (ip().await?, ip().await?)
        }
        other => bail!("command and family {other:?}"),
    };
    let (from, to) = (rest.read_u16().await?, rest.read_u16().await?);
    let endpoints = Some((SocketAddr::new(endpoints.0, from), SocketAddr::new(endpoints.1, to)));
    let mut authority = None;
    while !rest.is_empty() {
        let kind = rest.read_u8().await?;
        let mut value = vec![0; usize::from(rest.read_u16().await?)];
        rest.read_exact(&mut value).await?;
        if kind == 0x02 {
            authority = Some(String::from_utf8(value)?);
        }
    }
    Ok(ReceivedHeader { version: 2, endpoints, authority })
}
