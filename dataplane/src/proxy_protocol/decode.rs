//! Headers from load balancers: an incremental parser without IO.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

use super::endpoints::Endpoints;
use super::{LOCAL, MAX_BINARY, MAX_LINE, PROXY, SIGNATURE, TCP4, TCP6};

/// The first bytes of a header of version 1.
const LINE_START: &[u8] = b"PROXY ";
/// The size of a header of version 2 up to and including its length, in bytes.
const BINARY_START: usize = 16;
/// The size of an extension's type and length, in bytes.
const TLV_START: usize = 3;

/// The content of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Announcement {
    /// The connection of a client with these ends.
    Client(Endpoints),
    /// The sender's own connection (`LOCAL`, `UNKNOWN`), or a client whose address is not one of TCP over IP.
    Sender,
}

/// The reason why a header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum HeaderError {
    /// The first bytes are not those of a header.
    #[error("the connection does not begin with a PROXY protocol header")]
    Missing,
    /// The header is too large.
    #[error("the PROXY protocol header is too large")]
    TooLarge,
    /// The line of version 1 is malformed.
    #[error("the PROXY protocol line is malformed")]
    Line,
    /// The header of version 2 has an unknown version, command, family or transport.
    #[error("the PROXY protocol header has an unknown version, command or address family")]
    Unknown,
    /// The addresses or extensions do not fit into the length of the header of version 2.
    #[error("the PROXY protocol header has a wrong length")]
    Length,
    /// The connection ended within the header.
    #[error("the connection ended within the PROXY protocol header")]
    Truncated,
}

/// Reads the header at the start of `bytes`. Returns its content and size, or `None` if more bytes are needed: then all
/// bytes so far belong to the header.
///
/// # Errors
///
/// Fails as soon as no further bytes could make the header valid.
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<(Announcement, usize)>, HeaderError> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => decode_line(bytes),
        Some(_) => decode_binary(bytes),
    }
}

/// Fails if `bytes` does not begin like `expected`.
fn expect(bytes: &[u8], expected: &[u8]) -> Result<(), HeaderError> {
    if bytes.iter().zip(expected).all(|(byte, expected)| byte == expected) {
        Ok(())
    } else {
        Err(HeaderError::Missing)
    }
}

fn decode_line(bytes: &[u8]) -> Result<Option<(Announcement, usize)>, HeaderError> {
    expect(bytes, LINE_START)?;
    let searched = bytes.get(..MAX_LINE).unwrap_or(bytes);
    let Some(end) = searched.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() < MAX_LINE { Ok(None) } else { Err(HeaderError::TooLarge) };
    };
    let line = bytes.get(LINE_START.len()..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = String::from_utf8_lossy(line.ok_or(HeaderError::Line)?);
    let announcement = match line.split_once(' ').unwrap_or((&line, "")) {
        ("TCP4", ends) => Announcement::Client(line_endpoints::<Ipv4Addr>(ends)?),
        ("TCP6", ends) => Announcement::Client(line_endpoints::<Ipv6Addr>(ends)?),
        // What follows is ignored.
        ("UNKNOWN", _) => Announcement::Sender,
        _ => return Err(HeaderError::Line),
    };
    Ok(Some((announcement, end + 1)))
}

/// Parses two addresses and two ports, each separated by one space.
fn line_endpoints<A: FromStr + Into<IpAddr>>(text: &str) -> Result<Endpoints, HeaderError> {
    let mut fields = text.split(' ');
    let mut next = || fields.next().ok_or(HeaderError::Line);
    let [source, destination, from, to] = [next()?, next()?, next()?, next()?];
    if fields.next().is_some() {
        return Err(HeaderError::Line);
    }
    let ip = |text: &str| text.parse::<A>().map(Into::into).map_err(|_| HeaderError::Line);
    Ok(Endpoints::new(
        SocketAddr::new(ip(source)?, port(from)?),
        SocketAddr::new(ip(destination)?, port(to)?),
    ))
}

/// Parses a port: digits without a leading zero.
fn port(text: &str) -> Result<u16, HeaderError> {
    let is_canonical =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_canonical).ok_or(HeaderError::Line)
}

fn decode_binary(bytes: &[u8]) -> Result<Option<(Announcement, usize)>, HeaderError> {
    expect(bytes, &SIGNATURE)?;
    let command = bytes.get(SIGNATURE.len()).copied();
    if command.is_some_and(|command| command != LOCAL && command != PROXY) {
        return Err(HeaderError::Unknown);
    }
    let family = bytes.get(SIGNATURE.len() + 1).copied();
    // The family of LOCAL is ignored.
    if command == Some(PROXY) && family.is_some_and(|family| family >> 4 > 3 || family & 15 > 2) {
        return Err(HeaderError::Unknown);
    }
    let Some(&[high, low]) = bytes.get(BINARY_START - 2..BINARY_START).and_then(<[u8]>::first_chunk) else {
        return Ok(None);
    };
    let size = BINARY_START + usize::from(u16::from_be_bytes([high, low]));
    if size > MAX_BINARY {
        return Err(HeaderError::TooLarge);
    }
    let Some(content) = bytes.get(BINARY_START..size) else { return Ok(None) };
    let announcement = match (command, family) {
        (Some(PROXY), Some(TCP4)) => Announcement::Client(binary_endpoints::<4, Ipv4Addr>(content)?),
        (Some(PROXY), Some(TCP6)) => Announcement::Client(binary_endpoints::<16, Ipv6Addr>(content)?),
        _ => Announcement::Sender,
    };
    Ok(Some((announcement, size)))
}

/// Reads two addresses of `N` bytes and two ports, and checks the extensions behind them.
fn binary_endpoints<const N: usize, A: From<[u8; N]> + Into<IpAddr>>(
    content: &[u8],
) -> Result<Endpoints, HeaderError> {
    let fields = || {
        let (source, rest) = content.split_first_chunk::<N>()?;
        let (destination, rest) = rest.split_first_chunk::<N>()?;
        let (from, rest) = rest.split_first_chunk::<2>()?;
        let (to, rest) = rest.split_first_chunk::<2>()?;
        let end =
            |ip: &[u8; N], port: &[u8; 2]| SocketAddr::new(A::from(*ip).into(), u16::from_be_bytes(*port));
        Some((Endpoints::new(end(source, from), end(destination, to)), rest))
    };
    let (endpoints, mut extensions) = fields().ok_or(HeaderError::Length)?;
    while !extensions.is_empty() {
        let Some(&[_, high, low]) = extensions.first_chunk::<TLV_START>() else {
            return Err(HeaderError::Length);
        };
        let size = TLV_START + usize::from(u16::from_be_bytes([high, low]));
        extensions = extensions.get(size..).ok_or(HeaderError::Length)?;
    }
    Ok(endpoints)
}
