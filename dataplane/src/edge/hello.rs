//! Reading a ClientHello without consuming it: bounded, in any fragmentation, every byte kept for replay.

mod fields;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::io;

use rustls::server::{Accepted, Acceptor};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

use self::fields::{HelloFields, RECORD_HANDSHAKE, normal_sni};
use crate::config::HELLO_BYTES;
use crate::metrics::Refusal;
use crate::snapshot::ACME_TLS;

/// The bytes that most ClientHellos fit in.
const FIRST_READ: usize = 2048;

/// A whole ClientHello.
pub(crate) struct ClientHello {
    /// The TLS library's state, to go on from here; or its refusal, which a passthrough does not depend on.
    pub accepted: Result<Accepted, HelloError>,
    /// All that was read, to be replayed in a passthrough.
    pub raw: Vec<u8>,
    /// The number of bytes at the end of `raw` that the TLS library does not have, from the beginning of a record: early
    /// data, most likely.
    pub unfed: usize,
    /// Is true if it says that early data comes behind it (RFC 8446 §4.2.10).
    pub early_data: bool,
    /// The name asked for: lower-case, no trailing dot.
    pub sni: Option<Box<str>>,
    /// Set for a CA's check: it offers `acme-tls/1` alone (RFC 8737 §3).
    pub acme: bool,
}

/// The reason why there is no ClientHello.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("no ClientHello: {reason:?}")]
pub(crate) struct HelloError {
    /// The label of the counter.
    pub reason: Refusal,
    /// The alert to send before closing; empty for peers that do not speak TLS.
    pub alert: Vec<u8>,
}

/// Collects a ClientHello. Pure: bytes in, progress out.
#[derive(Default)]
pub(crate) struct HelloReader {
    acceptor: Acceptor,
    raw: Vec<u8>,
    fed: usize,
    /// The place in `raw` of the end of the record that is fed.
    record_end: usize,
}

impl HelloReader {
    fn step(&mut self) -> Result<Option<ClientHello>, HelloError> {
        while self.fed < self.raw.len() {
            if self.fed == self.record_end {
                let header = self.raw.get(self.fed..).and_then(<[u8]>::first_chunk);
                let Some(&[_, _, _, high, low]) = header else { break };
                self.record_end += 5 + usize::from(u16::from_be_bytes([high, low]));
            }
            // Nothing of the next record, which is not for the hello to keep.
            let end = self.record_end.min(self.raw.len());
            let mut new = self.raw.get(self.fed..end).unwrap_or_default();
            let before = new.len();
            match self.acceptor.read_tls(&mut new) {
                Ok(n) if n > 0 => self.fed += before - new.len(),
                // Its buffer is full: a hello larger than any TLS handshake message.
                Ok(_) | Err(_) => return Err(HelloError::new(Refusal::HelloTooLarge, &[])),
            }
            match self.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let (sni, acme) = sni_and_acme(&accepted);
                    let early_data = HelloFields::read(&self.raw).is_some_and(|fields| fields.early_data);
                    return Ok(Some(ClientHello { early_data, ..self.hello(Ok(accepted), sni, acme) }));
                }
                Err(refusal) => return self.refused(refusal).map(Some),
            }
        }
        if self.raw.len() >= HELLO_BYTES {
            return Err(HelloError::new(Refusal::HelloTooLarge, &[]));
        }
        Ok(None)
    }

    /// Takes the name out of a hello that the TLS library refuses, such as one of TLS 1.1: it may be for a passthrough.
    /// The library asks for signature algorithms and the like only once it has the whole message.
    fn refused(&mut self, refusal: HelloError) -> Result<ClientHello, HelloError> {
        match HelloFields::read(&self.raw) {
            Some(HelloFields { sni: Some(sni), .. }) => Ok(self.hello(Err(refusal), Some(sni), false)),
            Some(HelloFields { sni: None, .. }) | None => Err(refusal),
        }
    }

    fn hello(
        &mut self,
        accepted: Result<Accepted, HelloError>,
        sni: Option<Box<str>>,
        acme: bool,
    ) -> ClientHello {
        let unfed = self.raw.len() - self.fed;
        ClientHello { accepted, raw: std::mem::take(&mut self.raw), unfed, early_data: false, sni, acme }
    }

    fn accept(&mut self) -> Result<Option<Accepted>, HelloError> {
        self.acceptor.accept().map_err(|(_, mut unsent)| {
            let mut alert = Vec::new();
            // Peers that do not speak TLS get nothing: an alert is noise to them.
            if self.raw.first() == Some(&RECORD_HANDSHAKE) && unsent.write_all(&mut alert).is_err() {
                alert.clear();
            }
            HelloError { reason: Refusal::NotTls, alert }
        })
    }
}

impl HelloError {
    pub(super) fn new(reason: Refusal, alert: &[u8]) -> Self {
        Self { reason, alert: alert.to_vec() }
    }
}

/// Reads a ClientHello off a stream. The caller bounds the time.
pub(crate) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<ClientHello, HelloError> {
    let mut reader = HelloReader::default();
    loop {
        reader.raw.reserve(FIRST_READ);
        let n = stream.read_buf(&mut reader.raw).await.or_else(as_eof)?;
        if n == 0 {
            return Err(HelloError::new(Refusal::Closed, &[]));
        }
        if let Some(hello) = reader.step()? {
            return Ok(hello);
        }
    }
}

fn as_eof(_: io::Error) -> Result<usize, HelloError> {
    Ok(0)
}

fn sni_and_acme(accepted: &Accepted) -> (Option<Box<str>>, bool) {
    let hello = accepted.client_hello();
    let acme = hello.alpn().is_some_and(|offered| offered.eq([ACME_TLS]));
    (hello.server_name().map(normal_sni), acme)
}

#[cfg(test)]
mod tests;
