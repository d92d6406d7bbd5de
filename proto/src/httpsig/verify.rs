//! The verification of a request's signatures.

mod candidates;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;

use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, Uri};
use sfv::InnerList;

pub use self::candidates::{Candidate, MAX_SIGNATURES, candidates};
use super::base::Message;
use super::coverage::{self, RequiredComponent, covers};
use super::error::SignatureError;
use super::freshness;
use super::key::{Algorithm, PublicKey, PublicKeys};
use super::parameters::text;
use crate::model::KeyId;

/// The maximum length of a nonce, in bytes.
const MAX_NONCE: usize = 256;

/// A parsed signature of a request, not verified yet.
#[derive(Debug, Clone)]
pub struct RequestSignature {
    input: InnerList,
    signature: Vec<u8>,
    key_id: KeyId,
}

/// A verified signature.
#[derive(Debug)]
pub struct VerifiedSignature {
    /// The key that made the signature.
    pub key: PublicKey,
    /// The algorithm of the signature.
    pub algorithm: Algorithm,
    /// The signature base (RFC 9421 §2.5).
    pub base: String,
    /// The signature.
    pub signature: Vec<u8>,
}

impl RequestSignature {
    fn new(input: InnerList, signature: Vec<u8>) -> Result<Self, SignatureError> {
        let key_id = text(&input, "keyid")?.and_then(|text| text.parse().ok());
        let key_id = key_id.ok_or(SignatureError::Param("keyid"))?;
        let signature = Self { input, signature, key_id };
        signature.nonce()?;
        Ok(signature)
    }

    /// Returns the key id that the signature names.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Returns the nonce, if there is one.
    pub fn nonce(&self) -> Result<Option<&str>, SignatureError> {
        match text(&self.input, "nonce")? {
            Some(nonce) if nonce.is_empty() || nonce.len() > MAX_NONCE => Err(SignatureError::Param("nonce")),
            nonce => Ok(nonce),
        }
    }

    /// Returns the token for replay protection: the nonce, or the hash of the signature if a covered Date replaces the
    /// nonce. `None` if there is neither.
    pub fn one_time_token(&self) -> Result<Option<String>, SignatureError> {
        let nonce = self.nonce()?.map(str::to_owned);
        Ok(nonce.or_else(|| covers(&self.input, "date").then(|| hash(&self.signature))))
    }

    /// Returns whether the signature covers the server's authority, so that it is valid for no other server.
    #[must_use]
    pub fn covers_authority(&self) -> bool {
        covers(&self.input, "@authority") || covers(&self.input, "@target-uri")
    }

    /// Checks that the signature covers the required components of a request to `uri`. Does not check the digest.
    pub fn check_coverage(&self, uri: &Uri, required: &[RequiredComponent]) -> Result<(), SignatureError> {
        coverage::check(&self.input, uri, required)
    }

    /// Checks that the signature is fresh at `now` (Unix seconds).
    pub fn check_freshness(&self, headers: &HeaderMap, now: i64) -> Result<(), SignatureError> {
        freshness::check(&self.input, headers, now)
    }

    /// Verifies the signature of `message` with `key`.
    pub fn verify(
        &self,
        message: &Message<'_>,
        key: &PublicKey,
    ) -> Result<VerifiedSignature, SignatureError> {
        let named = text(&self.input, "alg")?;
        let fits = |algorithm: &&Algorithm| named.is_none_or(|alg| alg == algorithm.as_str());
        let mut algorithms = key.algorithms().iter().filter(fits).peekable();
        algorithms.peek().ok_or(SignatureError::Algorithm)?;
        let base = message.base(&self.input)?;
        let algorithm = algorithms.find(|algorithm| key.verifies(**algorithm, &base, &self.signature));
        let algorithm = *algorithm.ok_or(SignatureError::Forged)?;
        Ok(VerifiedSignature { key: key.clone(), algorithm, base, signature: self.signature.clone() })
    }

    /// Verifies the signature of `message` with any of `keys`. Otherwise returns the most specific error.
    pub fn verify_any(
        &self,
        message: &Message<'_>,
        keys: &PublicKeys,
    ) -> Result<VerifiedSignature, SignatureError> {
        let mut nearest = SignatureError::Algorithm;
        for key in keys.iter() {
            match self.verify(message, key) {
                Ok(signed) => return Ok(signed),
                Err(SignatureError::Algorithm) => {}
                Err(error) => nearest = error,
            }
        }
        Err(nearest)
    }
}

/// Returns the SHA-256 hash as a token. Tokens are kept per key, so that a nonce of this form affects only its own
/// signer.
fn hash(signature: &[u8]) -> String {
    let digest = digest(&SHA256, signature);
    let hex = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    hex.fold("signature:".to_owned(), |text, byte| text + &byte)
}

#[cfg(test)]
mod tests;
