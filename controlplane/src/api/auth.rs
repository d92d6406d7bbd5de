//! The authentication of a request: its head, the digest of the raw body, the key, the signature, the nonce.

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
    Candidate, FRESHNESS, Message, PublicKeys, RequestSignature, RequiredComponent, SignatureError,
    VerifiedSignature, candidates, check_digest,
};
use webgateway_proto::model::{Host, KeyId};

use super::nonces::SeenNonces;
use crate::clock::Clock;
use crate::keys::{KeyServerError, KeyStore, UnusableKeyError};
use crate::store::nonces::{self, NonceCheck, NonceUse};
use crate::store::{Store, StoreError, WriteTx};

/// The time for which a nonce is remembered, in seconds: `created` may be that far off, both ways.
const NONCE_LIFE: i64 = 2 * FRESHNESS + 1;

/// The way by which a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The `[rpc]` listener, at this address of ours; plain HTTP.
    Rpc {
        /// The address the client connected to.
        local: SocketAddr,
    },
    /// A node, for the base domain; HTTPS. The request's URI is absolute.
    Node,
}

/// A request whose signature was verified.
#[derive(Debug)]
pub(crate) struct Verified {
    /// The key that did.
    pub key_id: KeyId,
    /// The text that was signed, and by which key.
    pub signed: VerifiedSignature,
    nonce: Option<String>,
    /// The nonce, or what stands for it where a request must not be repeated.
    one_time_token: Option<String>,
}

/// A nonce on its way to the disk.
pub(crate) struct NonceReservation {
    /// Tells whoever writes after it whether it is new.
    pub nonce_check: NonceCheck,
    /// Resolves when it is on the disk.
    pub persisted: Persisted,
}

/// Resolves when a nonce is on the disk, or fails with the reason why it is not.
pub(crate) type Persisted = Pin<Box<dyn Future<Output = Result<(), AuthError>> + Send>>;

/// A requirement of authentication that a request failed.
#[derive(Debug, Error)]
pub(crate) enum AuthError {
    /// The signature's own requirements.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// No usable Host.
    #[error("the request has no single, well-formed Host")]
    NoAuthority,
    /// A Host that is not ours.
    #[error("the signature is for `{0}`, which is not an address of this API")]
    Authority(String),
    /// A key nobody put here.
    #[error("the key `{0}` is not known here")]
    UnknownKey(KeyId),
    /// A key that cannot be used; why is for the operator.
    #[error("the key `{0}` cannot be used")]
    UnusableKey(KeyId, #[source] UnusableKeyError),
    /// The key server is away: whether the signature is good cannot be told.
    #[error("whether the signature is `{0}`'s cannot be told now: the key server is away")]
    KeysAway(KeyId, #[source] Arc<KeyServerError>),
    /// A mutation without a nonce.
    #[error("a call that changes something needs a nonce, or a covered `date`")]
    NonceNeeded,
    /// A nonce, or a signature in place of one, that was used before.
    #[error("the nonce, or the signature that stands for one, was used before")]
    Replayed,
    /// Several signatures, none of which counts.
    #[error("none of the {count} signatures counts; of `{label}`: {best}")]
    Several {
        /// The number of signatures.
        count: usize,
        /// The label of the one that came nearest.
        label: String,
        /// The requirement that it failed.
        best: Box<AuthError>,
    },
    /// The store failed.
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
    /// Returns how near a signature came to counting: of several, the client is told of the one that it can mend.
    const fn progress(&self) -> u8 {
        match self {
            Self::Signature(
                SignatureError::Unsigned | SignatureError::Malformed(_) | SignatureError::Repeated(_),
            ) => 0,
            Self::Signature(SignatureError::TooMany(_) | SignatureError::Label) => 0,
            Self::UnknownKey(_) => 1,
            Self::Signature(
                SignatureError::Param(_) | SignatureError::Undated | SignatureError::Uncovered(_),
            ) => 2,
            Self::NoAuthority | Self::Authority(_) => 3,
            Self::Signature(
                SignatureError::Old(..) | SignatureError::Future(..) | SignatureError::Expired(_),
            ) => 4,
            Self::UnusableKey(..) => 5,
            Self::Signature(SignatureError::Algorithm | SignatureError::Component(_)) => 6,
            Self::Signature(SignatureError::Forged) => 7,
            Self::Signature(
                SignatureError::DigestMissing
                | SignatureError::DigestMalformed
                | SignatureError::DigestMismatch,
            ) => 8,
            Self::NonceNeeded | Self::Replayed | Self::Several { .. } => 8,
            Self::KeysAway(..) | Self::Store(_) => 9,
        }
    }
}

/// Verifies requests.
#[derive(Debug)]
pub(crate) struct Authenticator {
    keys: KeyStore,
    base: Host,
    store: Store,
    clock: Clock,
    required: Vec<RequiredComponent>,
    seen: Mutex<SeenNonces>,
}

impl Authenticator {
    /// For the API of a gateway at `base`, of which every signature covers what is `required`.
    #[must_use]
    pub(crate) fn new(
        keys: KeyStore,
        base: Host,
        store: Store,
        clock: Clock,
        required: Vec<RequiredComponent>,
    ) -> Self {
        Self { keys, base, store, clock, required, seen: Mutex::default() }
    }

    /// Verifies the signature of `request`: of several, the first that counts. Looks at the body as bytes alone.
    pub(crate) async fn verify(
        &self,
        request: &Request<Bytes>,
        origin: Origin,
    ) -> Result<Verified, AuthError> {
        let headers = request.headers();
        let candidates = candidates(headers)?;
        let uri = target(request, origin)?;
        let message = Message { method: request.method(), uri: &uri, headers };
        let count = candidates.len();
        let mut nearest: Option<((bool, u8), String, AuthError)> = None;
        for Candidate { label, signature: presented } in candidates {
            let admitted = match &presented {
                Ok(presented) => self.admit(presented, &message, request.body(), origin).await,
                Err(failure) => Err(failure.clone().into()),
            };
            match admitted {
                Ok(verified) => return Ok(verified),
                Err(reason) if count == 1 => return Err(reason),
                Err(reason) => {
                    debug!(label, %reason, "signature ignored");
                    let rank = (self.is_of_known_key(&presented).await, reason.progress());
                    if nearest.as_ref().is_none_or(|(other, ..)| *other < rank) {
                        nearest = Some((rank, label, reason));
                    }
                }
            }
        }
        // There is one signature at least.
        let (_, label, best) = nearest.ok_or(SignatureError::Unsigned)?;
        Err(AuthError::Several { count, label, best: Box::new(best) })
    }

    /// Returns true if it may be a client's: a proxy on the way has a key that nobody put here.
    async fn is_of_known_key(&self, presented: &Result<RequestSignature, SignatureError>) -> bool {
        match presented {
            Ok(presented) => !matches!(self.keys.find(presented.key_id()).await, Ok(None)),
            Err(_) => false,
        }
    }

    /// Holds one signature against every requirement.
    async fn admit(
        &self,
        presented: &RequestSignature,
        message: &Message<'_>,
        body: &[u8],
        origin: Origin,
    ) -> Result<Verified, AuthError> {
        presented.check_coverage(message.uri, &self.required)?;
        presented.check_freshness(message.headers, self.now())?;
        if presented.covers_authority() {
            self.admit_authority(message, origin)?;
        }
        check_digest(message.headers, body)?;
        let signed = self.admit_signature(presented, message).await?;
        let nonce = presented.nonce()?.map(str::to_owned);
        let one_time_token = presented.one_time_token()?;
        Ok(Verified { key_id: presented.key_id().clone(), signed, nonce, one_time_token })
    }

    /// Uses the nonce up, as far as this process remembers. What changes something needs one, what does not may have
    /// one.
    pub(crate) fn spend_nonce(&self, signed: &Verified, mutates: bool) -> Result<(), AuthError> {
        let token = if mutates { &signed.one_time_token } else { &signed.nonce };
        let Some(used) = self.nonce_use(signed, token) else {
            return if mutates { Err(AuthError::NonceNeeded) } else { Ok(()) };
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.spend(used, mutates) {
            true => Ok(()),
            false => Err(AuthError::Replayed),
        }
    }

    /// Has the nonce of what changes something remembered on the disk, before whatever is written after this call.
    pub(crate) fn reserve_nonce(&self, signed: &Verified) -> Result<NonceReservation, AuthError> {
        let used = self.nonce_use(signed, &signed.one_time_token).ok_or(AuthError::NonceNeeded)?;
        let nonce_check = NonceCheck::default();
        let outcome = nonce_check.clone();
        let spend = move |tx: &mut WriteTx<'_>| nonces::spend(tx, &used, &outcome).map_err(AuthError::from);
        Ok(NonceReservation { nonce_check, persisted: Box::pin(self.store.write("nonce", spend)) })
    }

    fn nonce_use(&self, signed: &Verified, token: &Option<String>) -> Option<NonceUse> {
        let (key_id, nonce, now) = (signed.key_id.clone(), token.clone()?, self.now());
        Some(NonceUse { key_id, nonce, now, expires_at: now + NONCE_LIFE })
    }

    /// A key that was replaced a moment ago may be known here by its old self: looked for once more.
    async fn admit_signature(
        &self,
        presented: &RequestSignature,
        message: &Message<'_>,
    ) -> Result<VerifiedSignature, AuthError> {
        let id = presented.key_id();
        let verify = |keys: &PublicKeys| presented.verify_any(message, keys).map_err(AuthError::from);
        let unusable = |error| match error {
            UnusableKeyError::Away(reason) => AuthError::KeysAway(id.clone(), reason),
            other => AuthError::UnusableKey(id.clone(), other),
        };
        let verified = match self.keys.find(id).await.map_err(unusable)? {
            Some(keys) => verify(&keys),
            None => Err(AuthError::UnknownKey(id.clone())),
        };
        match verified {
            Err(
                AuthError::Signature(SignatureError::Forged | SignatureError::Algorithm)
                | AuthError::UnknownKey(_),
            ) => match self.keys.find_again(id).await.map_err(unusable)? {
                Some(keys) => verify(&keys),
                None => verified,
            },
            verified => verified,
        }
    }

    /// A signature for another server, replayed here, is none.
    fn admit_authority(&self, message: &Message<'_>, origin: Origin) -> Result<(), AuthError> {
        let authority = message.authority();
        let is_ours = match origin {
            Origin::Node => {
                let host = message.uri.host().unwrap_or_default();
                host.eq_ignore_ascii_case(self.base.as_str())
            }
            Origin::Rpc { local } => rpc_authorities(local).contains(&authority),
        };
        if is_ours { Ok(()) } else { Err(AuthError::Authority(authority)) }
    }

    fn now(&self) -> i64 {
        self.clock.now().unix_timestamp()
    }
}

/// The names by which a client may call the listener it reached: that address, or loopback, with the port.
fn rpc_authorities(local: SocketAddr) -> [String; 4] {
    let port = local.port();
    let reached = SocketAddr::new(local.ip().to_canonical(), port).to_string();
    let names = [reached, format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")];
    names.map(|name| match name.strip_suffix(":80") {
        Some(bare) if port == 80 => bare.to_owned(),
        Some(_) | None => name,
    })
}

/// The absolute URI of the request: HTTP/1.1 has most of it in Host (RFC 9112 §3.3).
fn target(request: &Request<Bytes>, origin: Origin) -> Result<Uri, AuthError> {
    let scheme = match origin {
        Origin::Rpc { .. } => Scheme::HTTP,
        Origin::Node => Scheme::HTTPS,
    };
    let authority = match request.uri().authority() {
        Some(authority) => authority.clone(),
        None => host(request.headers())?,
    };
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority);
    let path = request.uri().path_and_query().cloned();
    parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).map_err(|_| AuthError::NoAuthority)
}

fn host(headers: &HeaderMap) -> Result<Authority, AuthError> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Authority::try_from(host.as_bytes()).map_err(|_| AuthError::NoAuthority),
        (None | Some(_), _) => Err(AuthError::NoAuthority),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listeners_names_have_its_port() {
        let names = rpc_authorities("[::ffff:192.0.2.1]:8080".parse().unwrap());
        assert_eq!(names, ["192.0.2.1:8080", "localhost:8080", "127.0.0.1:8080", "[::1]:8080"]);
        let names = rpc_authorities("[400::1]:80".parse().unwrap());
        assert_eq!(names, ["[400::1]", "localhost", "127.0.0.1", "[::1]"]);
        let names = rpc_authorities("[400::1]:8180".parse().unwrap());
        assert_eq!(names[1], "localhost:8180");
    }
}
