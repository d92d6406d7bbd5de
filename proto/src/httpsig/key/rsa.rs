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

/// An RSA key that verifies.
#[derive(Clone)]
pub(super) struct RsaPublic {
    key: PublicKey,
    pss_alone: bool,
}

/// An RSA key that signs.
#[derive(Clone)]
pub(super) struct RsaPrivate {
    pair: Arc<KeyPair>,
    pss_alone: bool,
}

impl RsaPublic {
    /// Takes the numbers of an OpenSSH key.
    pub(super) fn from_openssh(key: &ssh_key::public::RsaPublicKey) -> Result<Self, InvalidKeyError> {
        let n = key.n.as_positive_bytes().ok_or(InvalidKeyError::Damaged)?;
        let e = key.e.as_positive_bytes().ok_or(InvalidKeyError::Damaged)?;
        let der: PublicKeyX509Der<'_> =
            PublicKeyComponents { n, e }.as_der().map_err(|_| InvalidKeyError::Damaged)?;
        Self::from_der(der.as_ref(), false)
    }

    /// PKCS#1 or SPKI.
    pub(super) fn from_der(der: &[u8], pss_alone: bool) -> Result<Self, InvalidKeyError> {
        let key = PublicKey::from_der(der).map_err(|_| InvalidKeyError::Damaged)?;
        let spki: PublicKeyX509Der<'_> = key.as_der().map_err(|_| InvalidKeyError::Damaged)?;
        // The one door of the library that looks at the size of a key before there is a signature.
        PublicEncryptingKey::from_der(spki.as_ref()).map_err(|_| InvalidKeyError::RsaSize)?;
        Ok(Self { key, pss_alone })
    }

    /// PSS, and for a common key PKCS#1 v1.5 too.
    pub(super) fn algorithms(&self) -> &'static [Algorithm] {
        match self.pss_alone {
            true => &[Algorithm::RsaPssSha512],
            false => &[Algorithm::RsaPssSha512, Algorithm::RsaV15Sha256],
        }
    }

    /// Whether the signature is this key's.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match algorithm {
            Algorithm::RsaPssSha512 => &RSA_PSS_2048_8192_SHA512,
            Algorithm::RsaV15Sha256 if !self.pss_alone => &RSA_PKCS1_2048_8192_SHA256,
            Algorithm::RsaV15Sha256 | Algorithm::Ed25519 => return false,
        };
        UnparsedPublicKey::new(algorithm, self.key.as_ref()).verify(message, signature).is_ok()
    }

    /// SPKI PEM. The algorithm goes with the key, so that one for PSS alone stays so.
    pub(super) fn to_pem(&self) -> String {
        let der = match self.pss_alone {
            true => Some(encoding::public(RSASSA_PSS, self.key.as_ref())),
            false => AsDer::<PublicKeyX509Der<'_>>::as_der(&self.key).ok().map(|der| der.as_ref().to_vec()),
        };
        // What was parsed can be written.
        let document = der.and_then(|der| Document::try_from(der).ok());
        document.and_then(|document| document.to_pem("PUBLIC KEY", LineEnding::LF).ok()).unwrap_or_default()
    }
}

impl RsaPrivate {
    /// PKCS#1.
    pub(super) fn from_der(der: &[u8], pss_alone: bool) -> Result<Self, InvalidKeyError> {
        let pair = KeyPair::from_der(der).map_err(|_| InvalidKeyError::RsaSize)?;
        Ok(Self { pair: Arc::new(pair), pss_alone })
    }

    /// The other half.
    pub(super) fn public(&self) -> RsaPublic {
        RsaPublic { key: self.pair.public_key().clone(), pss_alone: self.pss_alone }
    }

    /// Signs with `rsa-pss-sha512`.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let signed = self.pair.sign(&RSA_PSS_SHA512, &SystemRandom::new(), message, &mut signature);
        // A key that was parsed signs; without randomness nothing works, and an empty signature is refused.
        if signed.is_ok() { signature } else { Vec::new() }
    }

    /// PKCS#8 PEM.
    pub(super) fn to_pem(&self) -> Zeroizing<String> {
        let common: Option<Pkcs8V1Der<'_>> = self.pair.as_der().ok();
        let pss = || {
            let key = TypedKey::private(common.as_ref()?.as_ref()).ok()?;
            Some(encoding::private(RSASSA_PSS, key.key))
        };
        // What was parsed can be written.
        let document = match self.pss_alone {
            true => pss().and_then(|der| SecretDocument::try_from(der.as_slice()).ok()),
            false => common.as_ref().and_then(|der| SecretDocument::try_from(der.as_ref()).ok()),
        };
        document.and_then(|document| document.to_pem("PRIVATE KEY", LineEnding::LF).ok()).unwrap_or_default()
    }
}

impl PartialEq for RsaPublic {
    fn eq(&self, other: &Self) -> bool {
        self.key.as_ref() == other.key.as_ref() && self.pss_alone == other.pss_alone
    }
}

impl Eq for RsaPublic {}

impl fmt::Debug for RsaPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaPublic(…)")
    }
}
