//! A parser of the ClientHello fields that the gateway needs; it ignores all others (RFC 8446 §4.1.2).

use std::borrow::Cow;

use crate::config::HELLO_BYTES;

/// The record type of a handshake (RFC 8446 §5.1).
pub(super) const RECORD_HANDSHAKE: u8 = 22;
/// The handshake message type of a ClientHello.
const CLIENT_HELLO: u8 = 1;
/// The maximum payload of a record, in bytes (RFC 8446 §5.1).
const RECORD_BYTES: usize = 1 << 14;
/// The extension `server_name` (RFC 6066 §3).
const SERVER_NAME: u16 = 0;
/// The type of a host name in `server_name`.
const HOST_NAME: u8 = 0;
/// The extension `early_data` (RFC 8446 §4.2.10).
const EARLY_DATA: u16 = 42;

/// The needed fields of one ClientHello.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct HelloFields {
    /// The server name, in lower case and without a trailing dot; `None` if there are several.
    pub sni: Option<Box<str>>,
    /// Is true if early data is announced.
    pub early_data: bool,
}

impl HelloFields {
    /// Parses the ClientHello at the start of `raw`, which may span several records; `None` if it is incomplete or
    /// invalid. Other extensions are skipped unread.
    pub(super) fn read(raw: &[u8]) -> Option<Self> {
        let message = first_message(raw)?;
        let mut hello = Cursor(&message);
        hello.take(2 + 32)?;
        hello.vector8()?;
        hello.vector16()?;
        hello.vector8()?;
        if hello.0.is_empty() {
            return Some(Self::default());
        }
        let mut extensions = Cursor(hello.vector16()?);
        let (mut fields, mut names) = (Self::default(), 0);
        while !extensions.0.is_empty() {
            match (extensions.u16()?, extensions.vector16()?) {
                (SERVER_NAME, list) => {
                    names += 1;
                    fields.sni = server_name(list);
                }
                (EARLY_DATA, _) => fields.early_data = true,
                (_, _) => {}
            }
        }
        if names > 1 {
            fields.sni = None;
        }
        Some(fields)
    }
}

/// Returns the body of the handshake message at the start of `raw`, if it is a complete ClientHello.
fn first_message(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut records = Cursor(raw);
    let first = record(&mut records)?;
    let mut header = Cursor(first);
    if let Some(size) = message_size(&mut header)
        && let Some(whole) = header.take(size)
    {
        return Some(Cow::Borrowed(whole));
    }
    let mut joined = first.to_vec();
    loop {
        let mut rest = Cursor(&joined);
        if joined.len() >= 4 {
            let size = message_size(&mut rest)?;
            if let Some(whole) = rest.take(size) {
                return Some(Cow::Owned(whole.to_vec()));
            }
        }
        joined.extend_from_slice(record(&mut records)?);
    }
}

/// Returns the size of the ClientHello that starts here; `None` if it is another message or too large.
fn message_size(message: &mut Cursor<'_>) -> Option<usize> {
    let [CLIENT_HELLO, high, middle, low] = *message.take(4)? else { return None };
    let size = u32::from_be_bytes([0, high, middle, low]) as usize;
    (size <= HELLO_BYTES).then_some(size)
}

/// Returns the payload of the next record, if it is a handshake record of any version since SSL 3.0.
fn record<'a>(records: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let [RECORD_HANDSHAKE, 3, _] = *records.take(3)? else { return None };
    records.vector16().filter(|payload| (1..=RECORD_BYTES).contains(&payload.len()))
}

/// Returns the single host name of a `server_name` extension; `None` if no route could have it.
fn server_name(list: &[u8]) -> Option<Box<str>> {
    let mut list = Cursor(list);
    let mut names = Cursor(list.vector16().filter(|_| list.0.is_empty())?);
    let [HOST_NAME] = *names.take(1)? else { return None };
    let name = names.vector16().filter(|_| names.0.is_empty())?;
    std::str::from_utf8(name).ok().filter(|name| !name.is_empty() && name.is_ascii()).map(normal_sni)
}

/// Returns a server name in the normal form of hosts: lower case, no trailing dot.
pub(super) fn normal_sni(name: &str) -> Box<str> {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into()
}

/// A bounds-checked reader of the remaining bytes.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        let [high, low] = *self.take(2)? else { return None };
        Some(u16::from_be_bytes([high, low]))
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let [size] = *self.take(1)? else { return None };
        self.take(usize::from(size))
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let size = self.u16()?;
        self.take(usize::from(size))
    }
}

#[cfg(test)]
mod tests;
