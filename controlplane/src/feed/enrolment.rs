//! The enrolment of remote nodes: the first certificate is issued for a join token, each later one for the previous
//! certificate.

use std::num::NonZeroU32;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use thiserror::Error;
use time::{Duration, OffsetDateTime};
use tonic::{Request, Response, Status};
use tracing::{error, info, warn};
use uuid::Uuid;
use webgateway_process::{Network, NetworkRateLimit, Quota};
use webgateway_proto::audit::action;
use webgateway_proto::feed::wire;
use webgateway_proto::model::NodeName;

use super::members::{AdmissionError, Members};
use super::peer::Peer;
use crate::clock::Clock;
use crate::pki::authority::{NodeAuthority, NodeCertificate, NodeIdentity, SignError};
use crate::store::audit::{self, AuditEntry};
use crate::store::nodes::{self, NodeCertificateRecord};
use crate::store::{Store, StoreError, WriteTx, invites};

/// The maximum size of a message, which contains a secret or a certificate request, in bytes.
pub(super) const MAX_MESSAGE: usize = 8 * 1024;
/// The maximum number of attempts to join from one network per minute.
const JOINS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(30).unwrap();

/// The gRPC service that enrols nodes.
#[derive(Clone)]
pub(crate) struct Enrolment {
    /// The store of tokens and nodes.
    pub store: Store,
    /// The CA that signs the certificates.
    pub authority: NodeAuthority,
    /// The list of enrolled nodes.
    pub members: Members,
    /// The source of the current time.
    pub clock: Clock,
    /// The lifetime of a node's certificate.
    pub lifetime: Duration,
    /// The limit of attempts to join by network.
    pub rate_limit: NetworkRateLimit,
}

/// Creates the limit of attempts to join by network.
#[must_use]
pub(crate) fn join_rate_limit() -> NetworkRateLimit {
    NetworkRateLimit::new(Quota::per_minute(JOINS_PER_MINUTE))
}

/// A node gets no certificate.
#[derive(Debug, Error)]
enum EnrolmentError {
    #[error("too many attempts to join from this network: wait a minute")]
    RateLimited,
    #[error(
        "the token is unknown: check that this gateway created it, or create another with `gwctl nodes invite`"
    )]
    Unknown,
    #[error("the token was used already: create another with `gwctl nodes invite {0}`")]
    Used(NodeName),
    #[error("the token has expired: create another with `gwctl nodes invite {0}`")]
    Expired(NodeName),
    #[error("another node has joined as `{0}`: remove it first, or choose another name")]
    Taken(NodeName),
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An attempt to join with a token.
struct JoinAttempt {
    peer: Peer,
    /// The SHA-256 digest of the token's secret.
    secret_hash: [u8; 32],
    /// The certificate request, PKCS#10 in DER.
    csr: Bytes,
    now: OffsetDateTime,
}

/// A node with a new certificate, and the store's revision that records it.
struct EnrolledNode {
    name: NodeName,
    signed: NodeCertificate,
    version: u64,
}

impl Enrolment {
    async fn join(&self, peer: Peer, request: wire::JoinRequest) -> Result<EnrolledNode, EnrolmentError> {
        if peer.address().is_some_and(|address| !self.rate_limit.admits(Network::of(address))) {
            return Err(EnrolmentError::RateLimited);
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &request.secret).as_ref());
        let attempt = JoinAttempt { peer, secret_hash: hash, csr: request.csr, now: self.clock.now() };
        let this = self.clone();
        self.store.write(action::NODES_JOIN, move |tx| this.admit(tx, &attempt)).await
    }

    fn admit(&self, tx: &mut WriteTx<'_>, attempt: &JoinAttempt) -> Result<EnrolledNode, EnrolmentError> {
        let JoinAttempt { peer, secret_hash, csr, now } = attempt;
        let now = *now;
        let invite = invites::find(tx, secret_hash)?.ok_or(EnrolmentError::Unknown)?;
        let name = invite.name;
        if invite.used {
            return Err(EnrolmentError::Used(name));
        }
        if invite.expires_at <= now {
            return Err(EnrolmentError::Expired(name));
        }
        let known = nodes::find(tx, name.as_str())?;
        if known.is_some_and(|node| node.member.is_some() && !node.removed) {
            return Err(EnrolmentError::Taken(name));
        }
        let node = NodeIdentity { name, member: Uuid::new_v4() };
        let signed = self.authority.sign(csr, &node, now, self.lifetime)?;
        let NodeIdentity { name, member } = node;
        invites::mark_used(tx, secret_hash, now)?;
        nodes::join(tx, name.as_str(), &certificate_record(member, &signed), now)?;
        let entry = AuditEntry {
            at: now,
            caller: format!("node/{name}"),
            client: peer.to_string(),
            method: action::NODES_JOIN,
            target: format!("node/{name}"),
            before: None,
            after: None,
            request: None,
        };
        audit::insert(tx, &entry)?;
        Ok(EnrolledNode { name, signed, version: tx.revise()? })
    }

    async fn renew(&self, peer: Peer, request: wire::RenewRequest) -> Result<EnrolledNode, EnrolmentError> {
        self.members.admit(&peer)?;
        let Peer::Remote { member: Some(member), .. } = peer else {
            return Err(AdmissionError::NoCertificate.into());
        };
        let (this, now) = (self.clone(), self.clock.now());
        let renew = move |tx: &mut WriteTx<'_>| {
            // The in-memory list may not have a removal yet that the store already has.
            let node = nodes::find_member(tx, member)?.filter(|node| !node.removed);
            let node = node.ok_or(AdmissionError::Unlisted)?;
            let name: NodeName = node.name.parse().map_err(|_| AdmissionError::Unlisted)?;
            let node = NodeIdentity { name, member };
            let signed = this.authority.sign(&request.csr, &node, now, this.lifetime)?;
            nodes::renew(tx, &certificate_record(member, &signed))?;
            Ok(EnrolledNode { name: node.name, signed, version: tx.revise()? })
        };
        self.store.write("nodes.renew", renew).await
    }

    /// Makes the response once the in-memory list has the node, so that its next connection is admitted.
    async fn respond(&self, enrolled: EnrolledNode) -> Response<wire::NodeCertificate> {
        let EnrolledNode { name, signed, version } = enrolled;
        self.members.wait_for_revision(version).await;
        Response::new(wire::NodeCertificate {
            chain: vec![signed.certificate.to_vec().into()],
            roots: vec![self.authority.root().to_vec().into()],
            node: name.to_string(),
        })
    }
}

fn certificate_record(member: Uuid, signed: &NodeCertificate) -> NodeCertificateRecord {
    NodeCertificateRecord { member, fingerprint: signed.fingerprint, not_after: signed.not_after }
}

/// Returns the peer of a request. Returns an error if its connection has none.
pub(super) fn peer_of<T>(request: &Request<T>) -> Result<Peer, Status> {
    request.extensions().get::<Peer>().copied().ok_or_else(|| Status::internal("a connection without a peer"))
}

impl From<&AdmissionError> for Status {
    fn from(refused: &AdmissionError) -> Self {
        match refused {
            AdmissionError::NoCertificate => Self::unauthenticated(refused.to_string()),
            AdmissionError::Unlisted
            | AdmissionError::Removed(_)
            | AdmissionError::Expired(_)
            | AdmissionError::OtherName { .. } => Self::permission_denied(refused.to_string()),
        }
    }
}

impl From<EnrolmentError> for Status {
    fn from(refused: EnrolmentError) -> Self {
        match &refused {
            EnrolmentError::RateLimited => Self::resource_exhausted(refused.to_string()),
            EnrolmentError::Unknown
            | EnrolmentError::Used(_)
            | EnrolmentError::Expired(_)
            | EnrolmentError::Taken(_) => Self::permission_denied(refused.to_string()),
            EnrolmentError::Admission(refused) => refused.into(),
            EnrolmentError::Sign(SignError::Crypto(failure)) => {
                error!(%failure, "cannot sign the certificate of a node");
                Self::internal("the certificate cannot be signed")
            }
            EnrolmentError::Sign(bad) => Self::invalid_argument(bad.to_string()),
            EnrolmentError::Store(failure) => {
                error!(%failure, "store failed");
                Self::unavailable("the store is not available: try again in a moment")
            }
        }
    }
}

#[tonic::async_trait]
impl wire::enrolment_server::Enrolment for Enrolment {
    async fn join(
        &self,
        request: Request<wire::JoinRequest>,
    ) -> Result<Response<wire::NodeCertificate>, Status> {
        let peer = peer_of(&request)?;
        let joined = Enrolment::join(self, peer, request.into_inner()).await;
        let joined = joined.inspect_err(|reason| warn!(from = %peer, %reason, "node cannot join"))?;
        info!(node = %joined.name, from = %peer, until = %joined.signed.not_after, "node joined");
        Ok(self.respond(joined).await)
    }

    async fn renew(
        &self,
        request: Request<wire::RenewRequest>,
    ) -> Result<Response<wire::NodeCertificate>, Status> {
        let peer = peer_of(&request)?;
        let renewed = Enrolment::renew(self, peer, request.into_inner()).await;
        let renewed = renewed
            .inspect_err(|reason| warn!(from = %peer, %reason, "node cannot renew its certificate"))?;
        info!(node = %renewed.name, from = %peer, until = %renewed.signed.not_after, "node certificate renewed");
        Ok(self.respond(renewed).await)
    }
}

#[cfg(test)]
mod tests;
