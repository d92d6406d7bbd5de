//! Shows the world what a CA asks to see, and takes it back.

use thiserror::Error;
use webgateway_proto::model::Host;

/// The ways of proving that we hold a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChallengeKind {
    /// A TXT record (RFC 8555 §8.4).
    Dns01,
    /// A handshake on :443 (RFC 8737).
    TlsAlpn01,
    /// A file on :80 (RFC 8555 §8.3).
    Http01,
}

/// What the CA asks to be shown for one name.
#[derive(Clone)]
pub struct Asked {
    /// The name, without `*.`.
    pub host: Host,
    /// How it is to be shown.
    pub kind: ChallengeKind,
    /// The challenge's token: base64url.
    pub token: String,
    /// The token and our account key's thumbprint.
    pub key_authorization: String,
    /// The value of the TXT record, for DNS-01.
    pub dns_value: String,
    /// SHA-256 of `key_authorization`, for TLS-ALPN-01.
    pub digest: [u8; 32],
}

/// Shows answers to the world. Clones show on the same channels.
#[derive(Debug, Clone)]
pub struct Solver {}

/// An answer that is to be seen until this is dropped.
#[derive(Debug)]
#[must_use = "the answer is taken back when this is dropped"]
pub struct Shown {}

/// Why an answer is not to be seen everywhere.
#[derive(Debug, Error)]
pub enum NotShown {
    /// No dataplane is connected, so nobody would answer.
    #[error("no dataplane is connected: nobody would answer the CA")]
    NoNode,
}

impl Solver {
    /// Shows one answer. Returns when the CA may look: for DNS-01 when our name server has it, for the others when
    /// every connected node has acknowledged it. An older answer of the same kind for the same host is replaced.
    pub async fn show(&self, _asked: &Asked) -> Result<Shown, NotShown> {
        Err(NotShown::NoNode)
    }
}
