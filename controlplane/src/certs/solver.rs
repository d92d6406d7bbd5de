//! The publisher of challenge responses: in our DNS zone, or on all nodes through the feed.

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

/// The time limit for nodes to acknowledge a challenge. The feed drops a node that is silent for longer.
const ACK_TIMEOUT: Duration = Duration::from_secs(20);

/// The kinds of challenges that prove control of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ChallengeKind {
    /// A TXT record (RFC 8555 §8.4).
    Dns01,
    /// A TLS handshake on port 443 (RFC 8737).
    TlsAlpn01,
    /// A resource on port 80 (RFC 8555 §8.3).
    Http01,
}

/// One challenge for one name.
#[derive(Clone)]
pub(crate) struct ChallengeRequest {
    /// The name, without `*.`.
    pub host: Host,
    /// The kind of the challenge.
    pub kind: ChallengeKind,
    /// The challenge's token, in base64url.
    pub token: String,
    /// The token and the thumbprint of our account key, joined by a dot (RFC 8555 §8.1).
    pub key_authorization: String,
    /// The value of the TXT record, for DNS-01.
    pub dns_value: String,
    /// The SHA-256 digest of `key_authorization`, for TLS-ALPN-01.
    pub digest: [u8; 32],
}

/// A publisher of challenge responses. Clones share what is published.
#[derive(Debug, Clone)]
pub(crate) struct Solver {
    base: Host,
    values: TxtSet,
    challenges: Challenges,
    nodes: Nodes,
    timeout: Duration,
}

/// A challenge response that is published until this is dropped.
#[derive(Debug)]
#[must_use = "the response is withdrawn when this is dropped"]
pub(crate) struct PublishedChallenge {
    _guard: ResponseGuard,
}

#[derive(Debug)]
#[expect(dead_code, reason = "held for the effect of the drop")]
enum ResponseGuard {
    Txt(TxtGuard),
    Challenge(ChallengeGuard),
}

/// The reason why a challenge response is not published everywhere.
#[derive(Debug, Error)]
pub(crate) enum PresentError {
    /// The certificate for TLS-ALPN-01 cannot be generated.
    #[error("the certificate for the challenge cannot be generated: {0}")]
    Crypto(#[from] rcgen::Error),
    /// A newer challenge for the same host took the place of this one.
    #[error(transparent)]
    Superseded(#[from] SupersededError),
    /// The store was not written within the time limit.
    #[error("the challenge was not recorded in the store in time")]
    Timeout,
    /// Some connected node has no response, or no node is connected.
    #[error("a node cannot answer the challenge: {0}")]
    NotAcked(#[from] AckError),
}

/// The reason why a challenge is not on every node.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum AckError {
    /// No node is connected.
    #[error("no dataplane is connected")]
    NoNode,
    /// A node rejected the challenge.
    #[error("the dataplane {node} cannot use {resource}: {reason}")]
    Rejected {
        /// The node's name.
        node: String,
        /// The challenge's name on the feed.
        resource: ResourceName,
        /// The node's reason.
        reason: String,
    },
    /// Some connected nodes did not acknowledge the challenge in time.
    #[error("these dataplanes did not acknowledge {resource} in time: {}", nodes.join(", "))]
    Late {
        /// The nodes' names.
        nodes: Vec<String>,
        /// The challenge's name on the feed.
        resource: ResourceName,
    },
}

impl Solver {
    /// Creates a publisher that puts DNS-01 values into `values` and other challenges on the feed.
    #[must_use]
    pub(crate) fn new(base: Host, values: TxtSet, challenges: Challenges, nodes: Nodes) -> Self {
        Self { base, values, challenges, nodes, timeout: ACK_TIMEOUT }
    }

    /// Publishes one response. Returns when the CA may validate it: for DNS-01 when our name server has the value, for
    /// the others when every connected node has acknowledged it. Replaces an older response for the same host on the
    /// feed.
    pub(crate) async fn present(
        &self,
        request: &ChallengeRequest,
    ) -> Result<PublishedChallenge, PresentError> {
        let host = &request.host;
        let guard = match request.kind {
            ChallengeKind::Dns01 => ResponseGuard::Txt(
                self.values.publish(TxtName::for_host(host, &self.base), &request.dns_value),
            ),
            ChallengeKind::TlsAlpn01 => {
                ResponseGuard::Challenge(self.publish(challenge::tls_alpn(host, &request.digest)?).await?)
            }
            ChallengeKind::Http01 => {
                let challenge = challenge::http(host, &request.token, &request.key_authorization);
                ResponseGuard::Challenge(self.publish(challenge).await?)
            }
        };
        info!(%host, kind = %request.kind, "challenge published");
        Ok(PublishedChallenge { _guard: guard })
    }

    async fn publish(&self, challenge: Challenge) -> Result<ChallengeGuard, PresentError> {
        let guard = self.challenges.publish(challenge);
        let version = timeout(self.timeout, guard.version()).await.map_err(|_| PresentError::Timeout)??;
        let target = AckTarget { version, resource: Some(guard.name()), known: None, min_nodes: 1 };
        require_acked(self.nodes.wait_acked(&target, self.timeout).await, guard.name())?;
        Ok(guard)
    }
}

/// Returns an error unless every connected node has acknowledged the challenge and there is at least one.
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
    /// Returns the challenge's type in ACME (RFC 8555 §9.7.8).
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
