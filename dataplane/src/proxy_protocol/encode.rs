//! Headers to backends.

use webgateway_proto::model::options::ProxyProtocol;

use super::endpoints::{EndpointPair, Endpoints};
use super::{LOCAL, PROXY, SIGNATURE, TCP4, TCP6};

/// The type of the extension with the server name, `PP2_TYPE_AUTHORITY`.
const AUTHORITY: u8 = 0x02;
/// The header of version 1 that announces no client.
const UNKNOWN_LINE: &[u8] = b"PROXY UNKNOWN\r\n";
/// The header of version 2 that announces no client: an unspecified family, and no bytes after the length.
const LOCAL_BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const _: () = assert!(LOCAL_BINARY[12] == LOCAL);

/// Returns the header of the gateway's own connections, such as health checks. It is empty if the protocol is off.
#[must_use]
pub(crate) const fn local_header(protocol: ProxyProtocol) -> &'static [u8] {
    match protocol {
        ProxyProtocol::Off => &[],
        ProxyProtocol::V1 => UNKNOWN_LINE,
        ProxyProtocol::V2 => LOCAL_BINARY,
    }
}

/// Returns a header of version 1, at most 107 bytes.
pub(super) fn line(endpoints: &Endpoints) -> Vec<u8> {
    let (from, to) = (endpoints.source().port(), endpoints.destination().port());
    match endpoints.same_family() {
        EndpointPair::V4(source, destination) => format!("PROXY TCP4 {source} {destination} {from} {to}\r\n"),
        EndpointPair::V6(source, destination) => format!("PROXY TCP6 {source} {destination} {from} {to}\r\n"),
    }
    .into_bytes()
}

/// Returns a header of version 2. It has `server_name` as an extension, unless that is empty.
pub(super) fn binary(endpoints: &Endpoints, server_name: &str) -> Vec<u8> {
    let mut content = Vec::with_capacity(64 + server_name.len());
    let family = match endpoints.same_family() {
        EndpointPair::V4(source, destination) => {
            content.extend([source.octets(), destination.octets()].concat());
            TCP4
        }
        EndpointPair::V6(source, destination) => {
            content.extend([source.octets(), destination.octets()].concat());
            TCP6
        }
    };
    content.extend(endpoints.source().port().to_be_bytes());
    content.extend(endpoints.destination().port().to_be_bytes());
    // A server name has at most 255 bytes, so its length fits; a longer one is left out.
    if let Ok(length @ 1..=255) = u16::try_from(server_name.len()) {
        content.push(AUTHORITY);
        content.extend(length.to_be_bytes());
        content.extend(server_name.as_bytes());
    }
    let length = u16::try_from(content.len()).unwrap_or_default();
    [&SIGNATURE[..], &[PROXY, family], &length.to_be_bytes(), &content].concat()
}
