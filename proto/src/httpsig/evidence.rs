//! A stored signed request, which anybody can verify later.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sfv::{Dictionary, ListEntry, Parser};
use thiserror::Error;

use super::key::{Algorithm, InvalidKeyError, PublicKey};
use super::verify::VerifiedSignature;
use super::{SignatureError, check_digest};
use crate::model::KeyId;

/// A signed request with everything needed to verify it later, independent of clock, nonces and server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// The public key, in SPKI PEM.
    pub key: String,
    /// The algorithm, by its RFC 9421 §6.2 name.
    pub algorithm: String,
    /// The signature base (RFC 9421 §2.5).
    pub base: String,
    /// The signature over the base, in base64.
    pub signature: String,
    /// The body, whose digest the base covers.
    pub body: String,
}

/// Evidence that fails verification.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EvidenceError {
    /// The public key cannot be parsed.
    #[error("its key cannot be used: {0}")]
    Key(#[from] InvalidKeyError),
    /// The algorithm does not match the key.
    #[error("`{0}` is not the key's algorithm")]
    Algorithm(String),
    /// The signature does not verify with the key.
    #[error("its signature does not verify with its key")]
    Forged,
    /// The body does not match the signed digest.
    #[error("its body does not match the signed digest: {0}")]
    Body(#[from] SignatureError),
    /// The signature base has no key id.
    #[error("its signature base has no key id")]
    KeyId,
}

impl Evidence {
    /// Makes evidence of a verified signature and the request's body.
    #[must_use]
    pub fn new(signed: &VerifiedSignature, body: &[u8]) -> Self {
        Self {
            key: signed.key.to_pem(),
            algorithm: signed.algorithm.as_str().to_owned(),
            base: signed.base.clone(),
            signature: STANDARD.encode(&signed.signature),
            // Only JSON is executed, which is UTF-8.
            body: String::from_utf8_lossy(body).into_owned(),
        }
    }

    /// Checks the signature and the digest, and returns the signed key id.
    pub fn check(&self) -> Result<KeyId, EvidenceError> {
        let key = PublicKey::parse(&self.key)?;
        let named = |algorithm: &&Algorithm| algorithm.as_str() == self.algorithm;
        let algorithm = *key
            .algorithms()
            .iter()
            .find(named)
            .ok_or_else(|| EvidenceError::Algorithm(self.algorithm.clone()))?;
        let signature = STANDARD.decode(&self.signature).map_err(|_| EvidenceError::Forged)?;
        if !key.verifies(algorithm, &self.base, &signature) {
            return Err(EvidenceError::Forged);
        }
        let mut headers = HeaderMap::new();
        if let Some(digest) = self.component("content-digest") {
            let digest = HeaderValue::from_str(digest).map_err(|_| SignatureError::DigestMalformed)?;
            headers.insert("content-digest", digest);
        }
        check_digest(&headers, self.body.as_bytes())?;
        self.key_id().ok_or(EvidenceError::KeyId)
    }

    fn key_id(&self) -> Option<KeyId> {
        let input = format!("s={}", self.component("@signature-params")?);
        let input: Dictionary = Parser::new(input.as_bytes()).parse().ok()?;
        let Some(ListEntry::InnerList(input)) = input.get("s") else { return None };
        input.params.get("keyid")?.as_string()?.as_str().parse().ok()
    }

    /// Returns the signed value of a component.
    fn component(&self, name: &str) -> Option<&str> {
        self.base.lines().find_map(|line| line.strip_prefix('"')?.strip_prefix(name)?.strip_prefix("\": "))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;

    use super::*;
    use crate::httpsig::{Message, PrivateKey, PublicKeys, candidates, sign};

    fn evidence(key: &PrivateKey) -> Evidence {
        let mut request =
            Request::post("https://gw.example/rpc").body(Bytes::from_static(b"{\"a\":1}")).unwrap();
        sign(&mut request, key, &"user1.pub".parse().unwrap(), 1_700_000_000, "n").unwrap();
        let signature = candidates(request.headers()).unwrap().remove(0).signature.unwrap();
        let message = Message { method: request.method(), uri: request.uri(), headers: request.headers() };
        let keys = PublicKeys::from(key.public());
        let signed = signature.verify_any(&message, &keys).unwrap();
        Evidence::new(&signed, request.body())
    }

    #[test]
    fn it_proves_who_signed_what() {
        let rsa = PrivateKey::parse(include_str!("samples/rsa.priv")).unwrap();
        for key in [PrivateKey::from_seed(&[1; 32]), rsa] {
            let evidence = evidence(&key);
            assert_eq!(evidence.check().unwrap().as_str(), "user1.pub");
            let text = serde_json::to_string(&evidence).unwrap();
            assert_eq!(serde_json::from_str::<Evidence>(&text).unwrap(), evidence);
        }
    }

    #[test]
    fn whatever_is_changed_it_proves_no_more() {
        let good = evidence(&PrivateKey::from_seed(&[1; 32]));
        let other = PrivateKey::from_seed(&[2; 32]).public().to_pem();
        let check = |change: &dyn Fn(&mut Evidence)| {
            let mut evidence = good.clone();
            change(&mut evidence);
            evidence.check().unwrap_err()
        };
        assert_eq!(
            check(&|e| e.body = "{\"a\":2}".into()),
            EvidenceError::Body(SignatureError::DigestMismatch)
        );
        assert_eq!(check(&|e| e.base = e.base.replace("user1", "user2")), EvidenceError::Forged);
        assert_eq!(check(&|e| e.key.clone_from(&other)), EvidenceError::Forged);
        assert_eq!(check(&|e| e.signature = "?".into()), EvidenceError::Forged);
        assert_eq!(
            check(&|e| e.algorithm = "hmac-sha256".into()),
            EvidenceError::Algorithm("hmac-sha256".into())
        );
        assert_eq!(check(&|e| e.key = "x".into()), EvidenceError::Key(InvalidKeyError::Form));
    }
}
