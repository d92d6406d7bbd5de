//! The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): a header before the first byte of a connection
//! that announces the client and the address it connected to.

mod decode;
mod encode;
mod endpoints;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod origin;

pub(crate) use self::decode::{Announcement, HeaderError, decode};
pub(crate) use self::encode::local_header;
pub(crate) use self::endpoints::Endpoints;
pub(crate) use self::origin::Origin;

/// The first bytes of a header of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The maximum size of a header of version 1 with its CR LF, in bytes.
const MAX_LINE: usize = 107;
/// The maximum size of a header of version 2, in bytes. The extensions in it (TLVs) may contain a certificate.
const MAX_BINARY: usize = 8 * 1024;
/// The maximum size of a header, in bytes.
pub(crate) const MAX_HEADER: usize = MAX_BINARY;

/// The byte of version 2 and the command `LOCAL`: the sender's own connection, such as a health check.
const LOCAL: u8 = 0x20;
/// The byte of version 2 and the command `PROXY`: the connection of a client.
const PROXY: u8 = 0x21;
/// The byte of TCP over IPv4.
const TCP4: u8 = 0x11;
/// The byte of TCP over IPv6.
const TCP6: u8 = 0x21;

#[cfg(test)]
mod tests;
