//! Reading of a ClientHello, in any fragmentation and within bounds. All bytes are kept for a replay to a backend.

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

/// The size of a read, in bytes; most ClientHellos fit in it.
const FIRST_READ: usize = 2048;

/// A complete ClientHello.
pub(crate) struct ClientHello {
    /// The state of the TLS library to continue the handshake; or its refusal, which does not matter for a passthrough.
    pub accepted: Result<Accepted, HelloError>,
    /// All bytes read, for the replay of a passthrough.
    pub raw: Vec<u8>,
    /// The number of bytes at the end of `raw` that were not given to the TLS library. They begin with a record, most
    /// likely of early data.
    pub unfed: usize,
    /// True if the ClientHello announces early data (RFC 8446 §4.2.10).
    pub early_data: bool,
    /// The server name, in lower case and without a trailing dot.
    pub sni: Option<Box<str>>,
    /// True for a TLS-ALPN-01 challenge: only `acme-tls/1` is offered (RFC 8737 §3).
    pub acme: bool,
}

/// The reason why a connection is refused at its ClientHello.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("no ClientHello: {reason:?}")]
pub(crate) struct HelloError {
    /// The reason, a label of the refusal counter.
    pub reason: Refusal,
    /// The TLS alert to send before closing; empty for peers that do not speak TLS.
    pub alert: Vec<u8>,
}

/// An incremental parser of a ClientHello, without IO.
#[derive(Default)]
pub(crate) struct HelloReader {
    acceptor: Acceptor,
    raw: Vec<u8>,
    fed: usize,
    /// The offset in `raw` of the end of the current record.
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
            // One record at a time, as the library would keep bytes of the records after the ClientHello.
            let end = self.record_end.min(self.raw.len());
            let mut new = self.raw.get(self.fed..end).unwrap_or_default();
            let before = new.len();
            match self.acceptor.read_tls(&mut new) {
                Ok(n) if n > 0 => self.fed += before - new.len(),
                // The library's buffer is full: the message is larger than it allows.
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

    /// Handles a ClientHello that the TLS library refuses, such as one of TLS 1.1: a passthrough backend may accept it,
    /// so its server name is read. `raw` then has the whole message, because the library checks only complete ones.
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
            // A peer that does not speak TLS cannot read an alert.
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

/// Reads a ClientHello from a stream. The caller sets the time limit.
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
