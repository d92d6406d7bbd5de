//! The few fields of a ClientHello that decide what becomes of it, read without judging the rest (RFC 8446 §4.1.2).

use std::borrow::Cow;

use crate::config::HELLO_BYTES;

/// The record type of a handshake (RFC 8446 §5.1).
pub(super) const RECORD_HANDSHAKE: u8 = 22;
/// The type of a ClientHello among the handshake messages.
const CLIENT_HELLO: u8 = 1;
/// The largest payload of a record (RFC 8446 §5.1).
const RECORD_BYTES: usize = 1 << 14;
/// The extension with the name asked for (RFC 6066 §3), and the type of a host in it.
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
/// The extension of a client that sends data behind its ClientHello (RFC 8446 §4.2.10).
const EARLY_DATA: u16 = 42;

/// The fields that matter of one ClientHello.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct HelloFields {
    /// The name asked for: lower-case, no trailing dot. Two names are none.
    pub sni: Option<Box<str>>,
    /// Is true if data comes behind it.
    pub early_data: bool,
}

impl HelloFields {
    /// Reads the ClientHello at the beginning of `raw`, over as many records as it takes; `None` if there is no whole
    /// one. The extensions are walked through, and none but those that matter is looked into.
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

/// Returns the body of the handshake message at the beginning of `raw`, if it is a whole ClientHello.
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

/// Returns the size of the ClientHello that begins here, if one does and it is not too large.
fn message_size(message: &mut Cursor<'_>) -> Option<usize> {
    let [CLIENT_HELLO, high, middle, low] = *message.take(4)? else { return None };
    let size = u32::from_be_bytes([0, high, middle, low]) as usize;
    (size <= HELLO_BYTES).then_some(size)
}

/// Returns the payload of the next record, if it is one of a handshake in any version since SSL 3.0.
fn record<'a>(records: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let [RECORD_HANDSHAKE, 3, _] = *records.take(3)? else { return None };
    records.vector16().filter(|payload| (1..=RECORD_BYTES).contains(&payload.len()))
}

/// Returns the one host of a list of names; a name that cannot be that of a route is none.
fn server_name(list: &[u8]) -> Option<Box<str>> {
    let mut list = Cursor(list);
    let mut names = Cursor(list.vector16().filter(|_| list.0.is_empty())?);
    let [HOST_NAME] = *names.take(1)? else { return None };
    let name = names.vector16().filter(|_| names.0.is_empty())?;
    std::str::from_utf8(name).ok().filter(|name| !name.is_empty() && name.is_ascii()).map(normal_sni)
}

/// Returns a name asked for as a host is written: lower-case, no trailing dot.
pub(super) fn normal_sni(name: &str) -> Box<str> {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into()
}

/// The bytes that are still to be read; every read is bounded by them.
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
