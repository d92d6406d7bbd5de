//! Authenticates requests by their signature (RFC 9421), the digest of the raw body (RFC 9530), the key and the nonce.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Request, Uri};
use thiserror::Error;
use tracing::debug;
use webgateway_proto::httpsig::{
    Candidate, FRESHNESS, Failure, Message, Presented, PublicKeys, RequiredComponent, Signed, candidates,
    check_digest,
};
use webgateway_proto::model::{Host, KeyId};

use super::nonces::SeenNonces;
use crate::clock::Clock;
use crate::keys::{KeyServerError, KeyStore, UnusableKeyError};
use crate::store::nonces::{self, NonceCheck, NonceUse};
use crate::store::{Store, StoreError, WriteTx};

/// The time for which a nonce is remembered, in seconds: `created` may be [`FRESHNESS`] in the past or in the future.
const NONCE_LIFE: i64 = 2 * FRESHNESS + 1;

/// The listener or node through which a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestSource {
    /// The `[rpc]` listener, over plain HTTP.
    Rpc {
        /// The local address that the client connected to.
        local: SocketAddr,
    },
    /// A node that serves the base domain over HTTPS. The URI of the request is absolute.
    Node,
}

/// A request whose signature was verified.
#[derive(Debug)]
pub(crate) struct VerifiedRequest {
    /// The id of the key that verified it.
    pub key_id: KeyId,
    /// The signature base, the signature and the key.
    pub signed: Signed,
    nonce: Option<String>,
    /// The text that is remembered for a mutation: the nonce or, with a covered `date`, the hash of the signature.
    one_time_token: Option<String>,
}

/// A nonce whose write to the store has been started.
pub(crate) struct NonceReservation {
    /// The result of the write, which later transactions read: whether the nonce is new.
    pub nonce_check: NonceCheck,
    /// The pending write.
    pub nonce_write: NonceWrite,
}

/// A future that resolves once the nonce is on the disk. Fails if it cannot be written or was used before.
pub(crate) type NonceWrite = Pin<Box<dyn Future<Output = Result<(), AuthError>> + Send>>;

/// The reason why a request is not authenticated.
#[derive(Debug, Error)]
pub(crate) enum AuthError {
    /// The signature, or a field that it needs, is missing or invalid.
    #[error(transparent)]
    Signature(#[from] Failure),
    /// The request does not have exactly one valid `Host`.
    #[error("the request needs exactly one valid `Host` field")]
    InvalidHost,
    /// The signature covers an authority that is not the API's.
    #[error("the signature is for `{0}`, which is not an address of this API")]
    WrongAuthority(String),
    /// The gateway has no key of this name.
    #[error("the gateway has no key `{0}`")]
    UnknownKey(KeyId),
    /// The key of this name cannot be used. The source is logged for the operator and not sent to the client.
    #[error("the key `{0}` cannot be used")]
    UnusableKey(KeyId, #[source] UnusableKeyError),
    /// The key server is not available, so the signature cannot be verified.
    #[error("the signature of `{0}` cannot be verified now: the key server is not available")]
    KeyServerUnavailable(KeyId, #[source] Arc<KeyServerError>),
    /// The request has a mutation and no nonce.
    #[error("a call that changes something needs a `nonce` parameter, or a `date` that the signature covers")]
    MissingNonce,
    /// The nonce, or the signature that is used in place of one, was used before.
    #[error("the nonce, or the signature without a nonce, was used before")]
    Replayed,
    /// The request has several signatures, and none of them is accepted.
    #[error("none of the {count} signatures is accepted; the best one is `{label}`: {best}")]
    SeveralSignatures {
        /// The number of signatures.
        count: usize,
        /// The label of the signature that passed the most checks.
        label: String,
        /// The reason why that signature is not accepted.
        best: Box<AuthError>,
    },
    /// The nonce cannot be read or written.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for AuthError {
    fn from(failure: StoreError) -> Self {
        match failure {
            StoreError::Replayed => Self::Replayed,
            failure => Self::Store(failure),
        }
    }
}

impl AuthError {
    /// Returns how many stages of the checks the signature passed. Of several signatures, the error of the one that
    /// passed the most is reported.
    const fn stages_passed(&self) -> u8 {
        match self {
            Self::Signature(Failure::Unsigned | Failure::Malformed(_) | Failure::Repeated(_)) => 0,
            Self::Signature(Failure::TooMany(_) | Failure::Label) => 0,
            Self::UnknownKey(_) => 1,
            Self::Signature(Failure::Param(_) | Failure::Undated | Failure::Uncovered(_)) => 2,
            Self::InvalidHost | Self::WrongAuthority(_) => 3,
            Self::Signature(Failure::Old(..) | Failure::Future(..) | Failure::Expired(_)) => 4,
            Self::UnusableKey(..) => 5,
            Self::Signature(Failure::Algorithm | Failure::Component(_)) => 6,
            Self::Signature(Failure::Forged) => 7,
            Self::Signature(Failure::DigestMissing | Failure::DigestMalformed | Failure::DigestMismatch) => 8,
            Self::MissingNonce | Self::Replayed | Self::SeveralSignatures { .. } => 8,
            Self::KeyServerUnavailable(..) | Self::Store(_) => 9,
        }
    }
}

/// Verifies the signatures of requests and remembers their nonces.
#[derive(Debug)]
pub(crate) struct Authenticator {
    keys: KeyStore,
    base: Host,
    store: Store,
    clock: Clock,
    required: Vec<RequiredComponent>,
    seen_nonces: Mutex<SeenNonces>,
}

impl Authenticator {
    /// Creates the authenticator for the gateway with the base domain `base`. Every signature must cover the `required`
    /// components.
    #[must_use]
    pub(crate) fn new(
        keys: KeyStore,
        base: Host,
        store: Store,
        clock: Clock,
        required: Vec<RequiredComponent>,
    ) -> Self {
        Self { keys, base, store, clock, required, seen_nonces: Mutex::default() }
    }

    /// Verifies `request` and returns its first accepted signature. The body is hashed and not parsed.
    pub(crate) async fn verify(
        &self,
        request: &Request<Bytes>,
        source: RequestSource,
    ) -> Result<VerifiedRequest, AuthError> {
        let headers = request.headers();
        let candidates = candidates(headers)?;
        let uri = target_uri(request, source)?;
        let message = Message { method: request.method(), uri: &uri, headers };
        let count = candidates.len();
        let mut best: Option<((bool, u8), String, AuthError)> = None;
        for Candidate { label, presented } in candidates {
            let outcome = match &presented {
                Ok(presented) => self.check(presented, &message, request.body(), source).await,
                Err(failure) => Err(failure.clone().into()),
            };
            match outcome {
                Ok(verified) => return Ok(verified),
                Err(reason) if count == 1 => return Err(reason),
                Err(reason) => {
                    debug!(label, %reason, "signature ignored");
                    let rank = (self.has_known_key(&presented).await, reason.stages_passed());
                    if best.as_ref().is_none_or(|(other, ..)| *other < rank) {
                        best = Some((rank, label, reason));
                    }
                }
            }
        }
        // `candidates` returns at least one signature.
        let (_, label, best) = best.ok_or(Failure::Unsigned)?;
        Err(AuthError::SeveralSignatures { count, label, best: Box::new(best) })
    }

    /// Returns true unless the key is unknown. The errors of signatures with a known key are reported first: a proxy in
    /// between may add a signature with a key that the gateway does not have.
    async fn has_known_key(&self, presented: &Result<Presented, Failure>) -> bool {
        match presented {
            Ok(presented) => !matches!(self.keys.find(presented.key_id()).await, Ok(None)),
            Err(_) => false,
        }
    }

    /// Checks every requirement for one signature.
    async fn check(
        &self,
        presented: &Presented,
        message: &Message<'_>,
        body: &[u8],
        source: RequestSource,
    ) -> Result<VerifiedRequest, AuthError> {
        presented.check_coverage(message.uri, &self.required)?;
        presented.check_freshness(message.headers, self.now())?;
        if presented.covers_authority() {
            self.check_authority(message, source)?;
        }
        check_digest(message.headers, body)?;
        let signed = self.verify_signature(presented, message).await?;
        let nonce = presented.nonce()?.map(str::to_owned);
        let one_time_token = presented.one_time_token()?;
        Ok(VerifiedRequest { key_id: presented.key_id().clone(), signed, nonce, one_time_token })
    }

    /// Marks the nonce as used in this process. A request that mutates needs a nonce; for others it is optional.
    pub(crate) fn spend_nonce(&self, signed: &VerifiedRequest, mutates: bool) -> Result<(), AuthError> {
        let token = if mutates { &signed.one_time_token } else { &signed.nonce };
        let Some(used) = self.nonce_use(signed, token) else {
            return if mutates { Err(AuthError::MissingNonce) } else { Ok(()) };
        };
        let mut seen = self.seen_nonces.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.spend(used, mutates) {
            true => Ok(()),
            false => Err(AuthError::Replayed),
        }
    }

    /// Starts to write the nonce of a mutation to the store. Later transactions run after this one.
    pub(crate) fn reserve_nonce(&self, signed: &VerifiedRequest) -> Result<NonceReservation, AuthError> {
        let used = self.nonce_use(signed, &signed.one_time_token).ok_or(AuthError::MissingNonce)?;
        let nonce_check = NonceCheck::default();
        let outcome = nonce_check.clone();
        let spend = move |tx: &mut WriteTx<'_>| nonces::spend(tx, &used, &outcome).map_err(AuthError::from);
        Ok(NonceReservation { nonce_check, nonce_write: Box::pin(self.store.write("nonce", spend)) })
    }

    fn nonce_use(&self, signed: &VerifiedRequest, token: &Option<String>) -> Option<NonceUse> {
        let (key_id, nonce, now) = (signed.key_id.clone(), token.clone()?, self.now());
        Some(NonceUse { key_id, nonce, now, expires_at: now + NONCE_LIFE })
    }

    /// Verifies the signature with the key. If it fails, the key is read again: the cached key may have been replaced.
    async fn verify_signature(
        &self,
        presented: &Presented,
        message: &Message<'_>,
    ) -> Result<Signed, AuthError> {
        let id = presented.key_id();
        let verify = |keys: &PublicKeys| presented.verify_any(message, keys).map_err(AuthError::from);
        let unusable = |error| match error {
            UnusableKeyError::ServerUnavailable(reason) => {
                AuthError::KeyServerUnavailable(id.clone(), reason)
            }
            other => AuthError::UnusableKey(id.clone(), other),
        };
        let verified = match self.keys.find(id).await.map_err(unusable)? {
            Some(keys) => verify(&keys),
            None => Err(AuthError::UnknownKey(id.clone())),
        };
        match verified {
            Err(AuthError::Signature(Failure::Forged | Failure::Algorithm) | AuthError::UnknownKey(_)) => {
                match self.keys.refresh(id).await.map_err(unusable)? {
                    Some(keys) => verify(&keys),
                    None => verified,
                }
            }
            verified => verified,
        }
    }

    /// Refuses a signature for another server, which may be replayed here.
    fn check_authority(&self, message: &Message<'_>, source: RequestSource) -> Result<(), AuthError> {
        let authority = message.authority();
        let is_own = match source {
            RequestSource::Node => {
                let host = message.uri.host().unwrap_or_default();
                host.eq_ignore_ascii_case(self.base.as_str())
            }
            RequestSource::Rpc { local } => rpc_authorities(local).contains(&authority),
        };
        if is_own { Ok(()) } else { Err(AuthError::WrongAuthority(authority)) }
    }

    fn now(&self) -> i64 {
        self.clock.now().unix_timestamp()
    }
}

/// Returns the authorities for which the `[rpc]` listener accepts signatures: its address and the loopback names, with
/// its port. Port 80 is left out, as in a normalised URI.
fn rpc_authorities(local: SocketAddr) -> [String; 4] {
    let port = local.port();
    let local = SocketAddr::new(local.ip().to_canonical(), port).to_string();
    let names = [local, format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")];
    names.map(|name| match name.strip_suffix(":80") {
        Some(bare) if port == 80 => bare.to_owned(),
        Some(_) | None => name,
    })
}

/// Returns the absolute URI of the request. In HTTP/1.1 the authority is in the Host field (RFC 9112 §3.3).
fn target_uri(request: &Request<Bytes>, source: RequestSource) -> Result<Uri, AuthError> {
    let scheme = match source {
        RequestSource::Rpc { .. } => Scheme::HTTP,
        RequestSource::Node => Scheme::HTTPS,
    };
    let authority = match request.uri().authority() {
        Some(authority) => authority.clone(),
        None => host_field(request.headers())?,
    };
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority);
    let path = request.uri().path_and_query().cloned();
    parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).map_err(|_| AuthError::InvalidHost)
}

fn host_field(headers: &HeaderMap) -> Result<Authority, AuthError> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Authority::try_from(host.as_bytes()).map_err(|_| AuthError::InvalidHost),
        (None | Some(_), _) => Err(AuthError::InvalidHost),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authorities_of_a_listener_have_its_port() {
        let names = rpc_authorities("[::ffff:192.0.2.1]:8080".parse().unwrap());
        assert_eq!(names, ["192.0.2.1:8080", "localhost:8080", "127.0.0.1:8080", "[::1]:8080"]);
        let names = rpc_authorities("[400::1]:80".parse().unwrap());
        assert_eq!(names, ["[400::1]", "localhost", "127.0.0.1", "[::1]"]);
        let names = rpc_authorities("[400::1]:8180".parse().unwrap());
        assert_eq!(names[1], "localhost:8180");
    }
}
