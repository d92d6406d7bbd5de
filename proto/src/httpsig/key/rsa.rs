//! RSA keys: `rsa-pss-sha512` and `rsa-v1_5-sha256` (RFC 9421 §3.3.1, §3.3.2).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, PublicEncryptingKey, PublicKey, PublicKeyComponents};
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA512, RSA_PSS_SHA512, UnparsedPublicKey,
    VerificationAlgorithm,
};
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{Document, SecretDocument};
use zeroize::Zeroizing;

use super::algorithm::{Algorithm, InvalidKeyError};
use super::encoding::{self, RSASSA_PSS, TypedKey};

/// An RSA public key.
#[derive(Clone)]
pub(super) struct RsaPublic {
    key: PublicKey,
    pss_only: bool,
}

/// An RSA private key.
#[derive(Clone)]
pub(super) struct RsaPrivate {
    pair: Arc<KeyPair>,
    pss_only: bool,
}

impl RsaPublic {
    /// Converts an OpenSSH key.
    pub(super) fn from_openssh(key: &ssh_key::public::RsaPublicKey) -> Result<Self, InvalidKeyError> {
        let n = key.n.as_positive_bytes().ok_or(InvalidKeyError::Damaged)?;
        let e = key.e.as_positive_bytes().ok_or(InvalidKeyError::Damaged)?;
        let der: PublicKeyX509Der<'_> =
            PublicKeyComponents { n, e }.as_der().map_err(|_| InvalidKeyError::Damaged)?;
        Self::from_der(der.as_ref(), false)
    }

    /// Reads PKCS#1 or SPKI.
    pub(super) fn from_der(der: &[u8], pss_only: bool) -> Result<Self, InvalidKeyError> {
        let key = PublicKey::from_der(der).map_err(|_| InvalidKeyError::Damaged)?;
        let spki: PublicKeyX509Der<'_> = key.as_der().map_err(|_| InvalidKeyError::Damaged)?;
        // This is the library's only constructor that checks the size of a key before the first signature.
        PublicEncryptingKey::from_der(spki.as_ref()).map_err(|_| InvalidKeyError::RsaSize)?;
        Ok(Self { key, pss_only })
    }

    /// Returns the allowed algorithms: PSS, and for a common key also PKCS#1 v1.5.
    pub(super) fn algorithms(&self) -> &'static [Algorithm] {
        match self.pss_only {
            true => &[Algorithm::RsaPssSha512],
            false => &[Algorithm::RsaPssSha512, Algorithm::RsaV15Sha256],
        }
    }

    /// Verifies a signature.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match algorithm {
            Algorithm::RsaPssSha512 => &RSA_PSS_2048_8192_SHA512,
            Algorithm::RsaV15Sha256 if !self.pss_only => &RSA_PKCS1_2048_8192_SHA256,
            Algorithm::RsaV15Sha256 | Algorithm::Ed25519 => return false,
        };
        UnparsedPublicKey::new(algorithm, self.key.as_ref()).verify(message, signature).is_ok()
    }

    /// Returns the key in SPKI PEM, with its algorithm, so that a key for PSS only remains one.
    pub(super) fn to_pem(&self) -> String {
        let der = match self.pss_only {
            true => Some(encoding::public(RSASSA_PSS, self.key.as_ref())),
            false => AsDer::<PublicKeyX509Der<'_>>::as_der(&self.key).ok().map(|der| der.as_ref().to_vec()),
        };
        // A parsed key can always be encoded.
        let document = der.and_then(|der| Document::try_from(der).ok());
        document.and_then(|document| document.to_pem("PUBLIC KEY", LineEnding::LF).ok()).unwrap_or_default()
    }
}

impl RsaPrivate {
    /// Reads PKCS#1.
    pub(super) fn from_der(der: &[u8], pss_only: bool) -> Result<Self, InvalidKeyError> {
        let pair = KeyPair::from_der(der).map_err(|_| InvalidKeyError::RsaSize)?;
        Ok(Self { pair: Arc::new(pair), pss_only })
    }

    /// Returns the public half.
    pub(super) fn public(&self) -> RsaPublic {
        RsaPublic { key: self.pair.public_key().clone(), pss_only: self.pss_only }
    }

    /// Signs with `rsa-pss-sha512`.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let signed = self.pair.sign(&RSA_PSS_SHA512, &SystemRandom::new(), message, &mut signature);
        // Signing with a parsed key fails only without randomness. An empty signature is always rejected.
        if signed.is_ok() { signature } else { Vec::new() }
    }

    /// Returns the key in PKCS#8 PEM.
    pub(super) fn to_pem(&self) -> Zeroizing<String> {
        let common: Option<Pkcs8V1Der<'_>> = self.pair.as_der().ok();
        let pss = || {
            let key = TypedKey::private(common.as_ref()?.as_ref()).ok()?;
            Some(encoding::private(RSASSA_PSS, key.key))
        };
        // A parsed key can always be encoded.
        let document = match self.pss_only {
            true => pss().and_then(|der| SecretDocument::try_from(der.as_slice()).ok()),
            false => common.as_ref().and_then(|der| SecretDocument::try_from(der.as_ref()).ok()),
        };
        document.and_then(|document| document.to_pem("PRIVATE KEY", LineEnding::LF).ok()).unwrap_or_default()
    }
}

impl PartialEq for RsaPublic {
    fn eq(&self, other: &Self) -> bool {
        self.key.as_ref() == other.key.as_ref() && self.pss_only == other.pss_only
    }
}

impl Eq for RsaPublic {}

impl fmt::Debug for RsaPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaPublic(…)")
    }
}
