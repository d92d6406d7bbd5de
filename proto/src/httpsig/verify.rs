//! Reading a request's signatures and holding each against our requirements.

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

/// The longest nonce taken, in bytes.
const MAX_NONCE: usize = 256;

/// A signature as a request presents it; nothing about it is known to be true yet.
#[derive(Debug, Clone)]
pub struct RequestSignature {
    input: InnerList,
    signature: Vec<u8>,
    key_id: KeyId,
}

/// A signature that was verified.
#[derive(Debug)]
pub struct VerifiedSignature {
    /// The key that signed.
    pub key: PublicKey,
    /// How.
    pub algorithm: Algorithm,
    /// What (RFC 9421 §2.5).
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

    /// The key that is said to have signed.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// The nonce, if there is one.
    pub fn nonce(&self) -> Result<Option<&str>, SignatureError> {
        match text(&self.input, "nonce")? {
            Some(nonce) if nonce.is_empty() || nonce.len() > MAX_NONCE => Err(SignatureError::Param("nonce")),
            nonce => Ok(nonce),
        }
    }

    /// The text by which a request that must not be repeated is remembered: its nonce, or, where a covered Date takes the
    /// nonce's place, the hash of the signature itself. `None` if there is neither.
    pub fn one_time_token(&self) -> Result<Option<String>, SignatureError> {
        let nonce = self.nonce()?.map(str::to_owned);
        Ok(nonce.or_else(|| covers(&self.input, "date").then(|| hash(&self.signature))))
    }

    /// Returns true if it says which server the request is for, so that it is good for no other.
    #[must_use]
    pub fn covers_authority(&self) -> bool {
        covers(&self.input, "@authority") || covers(&self.input, "@target-uri")
    }

    /// Checks that it covers what must be covered of a request to `uri`. The digest is checked apart.
    pub fn check_coverage(&self, uri: &Uri, required: &[RequiredComponent]) -> Result<(), SignatureError> {
        coverage::check(&self.input, uri, required)
    }

    /// Checks that it is of `now` (Unix seconds).
    pub fn check_freshness(&self, headers: &HeaderMap, now: i64) -> Result<(), SignatureError> {
        freshness::check(&self.input, headers, now)
    }

    /// What `key` signed over `message`.
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

    /// Which of `keys` signed this over `message`, and what; else the failure that tells most.
    pub fn verify_any(
        &self,
        message: &Message<'_>,
        keys: &PublicKeys,
    ) -> Result<VerifiedSignature, SignatureError> {
        let mut failure = SignatureError::Algorithm;
        for key in keys.iter() {
            match self.verify(message, key) {
                Ok(signed) => return Ok(signed),
                Err(SignatureError::Algorithm) => {}
                Err(told) => failure = told,
            }
        }
        Err(failure)
    }
}

/// SHA-256 in hexadecimal. A nonce that looks the same can only be its own signer's.
fn hash(signature: &[u8]) -> String {
    let digest = digest(&SHA256, signature);
    let hex = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    hex.fold("signature:".to_owned(), |text, byte| text + &byte)
}

#[cfg(test)]
mod tests;
