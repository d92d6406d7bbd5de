//! Shows the world what a CA asks to see, and takes it back.

use std::fmt;
use std::time::Duration;

use thiserror::Error;
use tokio::time::timeout;
use tracing::info;
use webgateway_proto::feed::{Challenge, ResourceName};
use webgateway_proto::model::Host;

use super::challenge;
use crate::dns::txt::{TxtGuard, TxtName, TxtSet};
use crate::domain::{AckProgress, AckTarget};
use crate::feed::challenges::{ChallengeGuard, Challenges, SupersededError};
use crate::feed::nodes::Nodes;

/// The time that nodes have to acknowledge a challenge. One that is silent for longer is dropped from the feed.
const ACK_TIMEOUT: Duration = Duration::from_secs(20);

/// The ways of proving that we hold a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ChallengeKind {
    /// A TXT record (RFC 8555 §8.4).
    Dns01,
    /// A handshake on :443 (RFC 8737).
    TlsAlpn01,
    /// A file on :80 (RFC 8555 §8.3).
    Http01,
}

/// A challenge that the CA asks to be answered for one name.
#[derive(Clone)]
pub(crate) struct ChallengeRequest {
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

/// Shows answers to the world. Clones show in the same places.
#[derive(Debug, Clone)]
pub(crate) struct Solver {
    base: Host,
    values: TxtSet,
    challenges: Challenges,
    nodes: Nodes,
    timeout: Duration,
}

/// An answer that is presented until this is dropped.
#[derive(Debug)]
#[must_use = "the answer is taken back when this is dropped"]
pub(crate) struct PublishedChallenge {
    _guard: ChallengeHolder,
}

#[derive(Debug)]
#[expect(dead_code, reason = "held for what their drop does")]
enum ChallengeHolder {
    Txt(TxtGuard),
    Challenge(ChallengeGuard),
}

/// The reason why an answer is not to be seen everywhere.
#[derive(Debug, Error)]
pub(crate) enum PresentError {
    /// The certificate for the handshake cannot be made.
    #[error("the certificate for the challenge cannot be made: {0}")]
    Crypto(#[from] rcgen::Error),
    /// Somebody else answers for the same host.
    #[error(transparent)]
    SupersededError(#[from] SupersededError),
    /// The store cannot be written.
    #[error("the challenge could not be noted in the store in time")]
    Late,
    /// The CA would find a node that cannot answer, or none.
    #[error("the CA would not be answered: {0}")]
    NotAcked(#[from] AckError),
}

/// The reason why a challenge is not on every node.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum AckError {
    /// No node is connected.
    #[error("no dataplane is connected")]
    NoNode,
    /// A node cannot use it.
    #[error("the dataplane {node} cannot use {resource}: {reason}")]
    Rejected {
        /// The node.
        node: String,
        /// The challenge's name on the feed.
        resource: ResourceName,
        /// The reason, in the node's words.
        reason: String,
    },
    /// Nodes that are connected did not answer in time.
    #[error("these dataplanes did not acknowledge {resource} in time: {}", nodes.join(", "))]
    Late {
        /// The nodes.
        nodes: Vec<String>,
        /// The challenge's name on the feed.
        resource: ResourceName,
    },
}

impl Solver {
    /// Shows DNS-01 in `values`, the others on the feed.
    #[must_use]
    pub(crate) fn new(base: Host, values: TxtSet, challenges: Challenges, nodes: Nodes) -> Self {
        Self { base, values, challenges, nodes, timeout: ACK_TIMEOUT }
    }

    /// Presents one answer. Returns when the CA may look: for DNS-01 when our name server has it, for the others when
    /// every connected node has acknowledged it. An older answer on the feed for the same host is replaced.
    pub(crate) async fn present(&self, asked: &ChallengeRequest) -> Result<PublishedChallenge, PresentError> {
        let host = &asked.host;
        let guard = match asked.kind {
            ChallengeKind::Dns01 => ChallengeHolder::Txt(
                self.values.publish(TxtName::for_host(host, &self.base), &asked.dns_value),
            ),
            ChallengeKind::TlsAlpn01 => {
                ChallengeHolder::Challenge(self.publish(challenge::tls_alpn(host, &asked.digest)?).await?)
            }
            ChallengeKind::Http01 => {
                let challenge = challenge::http(host, &asked.token, &asked.key_authorization);
                ChallengeHolder::Challenge(self.publish(challenge).await?)
            }
        };
        info!(%host, kind = %asked.kind, "a challenge is shown");
        Ok(PublishedChallenge { _guard: guard })
    }

    async fn publish(&self, challenge: Challenge) -> Result<ChallengeGuard, PresentError> {
        let guard = self.challenges.show(challenge);
        let version = timeout(self.timeout, guard.version()).await.map_err(|_| PresentError::Late)??;
        let target = AckTarget { version, resource: Some(guard.name()), known: None, min_nodes: 1 };
        require_acked(self.nodes.wait_acked(&target, self.timeout).await, guard.name())?;
        Ok(guard)
    }
}

/// Refuses a challenge that a CA would not find on every node.
fn require_acked(progress: AckProgress, resource: ResourceName) -> Result<(), AckError> {
    if let Some(reject) = progress.rejects.into_iter().next() {
        return Err(AckError::Rejected { node: reject.node, resource, reason: reject.reason });
    }
    match (progress.acked, progress.pending) {
        (0, pending) if pending.is_empty() => Err(AckError::NoNode),
        (_, pending) if pending.is_empty() => Ok(()),
        (_, nodes) => Err(AckError::Late { nodes, resource }),
    }
}

impl ChallengeKind {
    /// The word for it in ACME.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Dns01 => "dns-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Http01 => "http-01",
        }
    }
}

impl fmt::Display for ChallengeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
