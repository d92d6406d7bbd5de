//! Public and private keys, in all their text forms: PEM, OpenSSH and raw base64.

mod algorithm;
mod encoding;
mod fingerprint;
mod form;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod rsa;
mod several;

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{EncodePrivateKey, EncodePublicKey};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

pub use self::algorithm::{Algorithm, InvalidKeyError};
use self::encoding::{TypedKey, has_public_half};
use self::form::{Form, foreign_label, foreign_openssh, openssh_type};
use self::rsa::{RsaPrivate, RsaPublic};
pub use self::several::{InvalidKeysError, PublicKeys, SkippedKey};

/// A public key, which verifies signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(Public);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Public {
    Ed25519(VerifyingKey),
    Rsa(RsaPublic),
}

impl PublicKey {
    /// Parses SPKI or PKCS#1 PEM, an OpenSSH line (`ssh-ed25519 AAAA… comment`, `ssh-rsa …`), a block of RFC 4716, or
    /// raw base64 of an ed25519 key.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyError> {
        let text = text.trim();
        match Form::of(text)? {
            Form::Pem(label) if label.contains("PRIVATE") => Err(InvalidKeyError::Private),
            Form::Pem("RSA PUBLIC KEY") => {
                RsaPublic::from_der(&encoding::from_pem(text)?, false).map(Self::from)
            }
            Form::Pem("PUBLIC KEY") => Self::from_spki(&encoding::from_pem(text)?),
            Form::Pem(label) => {
                Err(foreign_label(label).map_or(InvalidKeyError::Form, InvalidKeyError::Algorithm))
            }
            Form::Rfc4716(label) if label.contains("PRIVATE") => Err(InvalidKeyError::Private),
            Form::Rfc4716(_) => {
                let parsed = ssh_key::PublicKey::from_bytes(&encoding::from_rfc4716(text)?);
                Self::from_openssh(&parsed.map_err(|_| InvalidKeyError::Damaged)?)
            }
            Form::OpenSsh => {
                let failure =
                    |_| foreign_openssh(text).map_or(InvalidKeyError::Damaged, InvalidKeyError::Algorithm);
                Self::from_openssh(&ssh_key::PublicKey::from_openssh(text).map_err(failure)?)
            }
            Form::Base64(bytes) if bytes.len() == 32 => Self::ed25519(&bytes),
            Form::Base64(bytes) => Err(InvalidKeyError::Length(bytes.len(), "32")),
        }
    }

    fn from_openssh(parsed: &ssh_key::PublicKey) -> Result<Self, InvalidKeyError> {
        if let Some(key) = parsed.key_data().rsa() {
            return RsaPublic::from_openssh(key).map(Self::from);
        }
        let foreign = || InvalidKeyError::Algorithm(openssh_type(&parsed.algorithm()));
        Self::ed25519(&parsed.key_data().ed25519().ok_or_else(foreign)?.0)
    }

    /// Reads SPKI or PKCS#1.
    fn from_der(der: &[u8]) -> Result<Self, InvalidKeyError> {
        Self::from_spki(der).or_else(|failure| match failure {
            InvalidKeyError::Damaged => RsaPublic::from_der(der, false).map(Self::from),
            other => Err(other),
        })
    }

    /// Reads SPKI.
    fn from_spki(der: &[u8]) -> Result<Self, InvalidKeyError> {
        let TypedKey { algorithm, foreign, key, .. } = TypedKey::public(der)?;
        match foreign {
            Some(words) => Err(InvalidKeyError::Algorithm(words)),
            None if algorithm == encoding::ED25519 => Self::ed25519(key),
            None => RsaPublic::from_der(key, algorithm == encoding::RSASSA_PSS).map(Self::from),
        }
    }

    fn ed25519(bytes: &[u8]) -> Result<Self, InvalidKeyError> {
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| InvalidKeyError::Damaged)?;
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| InvalidKeyError::Damaged)?;
        if key.is_weak() { Err(InvalidKeyError::Weak) } else { Ok(Self(Public::Ed25519(key))) }
    }

    /// Returns the algorithms allowed for signatures of this key: one, or two for a common RSA key.
    #[must_use]
    pub fn algorithms(&self) -> &'static [Algorithm] {
        match &self.0 {
            Public::Ed25519(_) => &[Algorithm::Ed25519],
            Public::Rsa(key) => key.algorithms(),
        }
    }

    /// Verifies `signature` over `base` with `algorithm`, which must be one of [`PublicKey::algorithms`].
    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm, base: &str, signature: &[u8]) -> bool {
        match (&self.0, algorithm) {
            (Public::Ed25519(key), Algorithm::Ed25519) => {
                let signature = Signature::from_slice(signature);
                signature.is_ok_and(|signature| key.verify_strict(base.as_bytes(), &signature).is_ok())
            }
            (Public::Rsa(key), Algorithm::RsaPssSha512 | Algorithm::RsaV15Sha256) => {
                key.verifies(algorithm, base.as_bytes(), signature)
            }
            (Public::Ed25519(_), Algorithm::RsaPssSha512 | Algorithm::RsaV15Sha256)
            | (Public::Rsa(_), Algorithm::Ed25519) => false,
        }
    }

    /// Returns the key in SPKI PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        match &self.0 {
            // Encoding 32 bytes cannot fail.
            Public::Ed25519(key) => key.to_public_key_pem(LineEnding::LF).unwrap_or_default(),
            Public::Rsa(key) => key.to_pem(),
        }
    }
}

impl From<RsaPublic> for PublicKey {
    fn from(key: RsaPublic) -> Self {
        Self(Public::Rsa(key))
    }
}

/// A private key, which signs. `Debug` does not show it.
#[derive(Clone)]
pub struct PrivateKey(Private);

#[derive(Clone)]
enum Private {
    Ed25519(Box<SigningKey>),
    Rsa(RsaPrivate),
}

impl PrivateKey {
    /// Makes an ed25519 key from 32 random bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(Private::Ed25519(Box::new(SigningKey::from_bytes(seed))))
    }

    /// Reads the contents of a key file: a text for [`PrivateKey::parse`], or PKCS#8 or PKCS#1 in DER.
    pub fn read(file: &[u8]) -> Result<Self, InvalidKeyError> {
        match std::str::from_utf8(file) {
            Ok(text) => Self::parse(text.strip_prefix('\u{feff}').unwrap_or(text)),
            Err(_) => Self::from_pkcs8(file).or_else(|failure| match failure {
                // OpenSSL writes RSA keys in DER as PKCS#1.
                InvalidKeyError::Damaged => match RsaPrivate::from_der(file, false) {
                    Ok(key) => Ok(Self(Private::Rsa(key))),
                    Err(_) => Err(InvalidKeyError::Binary),
                },
                other => Err(other),
            }),
        }
    }

    /// Parses PKCS#8 or PKCS#1 PEM, an OpenSSH private key of ed25519, or a raw base64 seed of an ed25519 key (32
    /// bytes, or 64 with the public half).
    pub fn parse(text: &str) -> Result<Self, InvalidKeyError> {
        let text = text.trim();
        match Form::of(text)? {
            Form::Pem("OPENSSH PRIVATE KEY") => Self::from_openssh(&encoding::from_pem(text)?),
            Form::Rfc4716(label) if label.contains("PRIVATE") => Err(InvalidKeyError::SshCom),
            Form::Rfc4716(_) => Err(InvalidKeyError::Public),
            Form::Pem(label) if label.contains("ENCRYPTED") => Err(InvalidKeyError::Encrypted),
            Form::Pem(label) if label.contains("PUBLIC") => Err(InvalidKeyError::Public),
            Form::Pem("RSA PRIVATE KEY") => {
                Ok(Self(Private::Rsa(RsaPrivate::from_der(&encoding::from_pem(text)?, false)?)))
            }
            Form::Pem("PRIVATE KEY") => Self::from_pkcs8(&encoding::from_pem(text)?),
            Form::Pem(label) => {
                Err(foreign_label(label).map_or(InvalidKeyError::Form, InvalidKeyError::Algorithm))
            }
            Form::OpenSsh => Err(InvalidKeyError::Public),
            Form::Base64(bytes) => match bytes.len() {
                32 | 64 => Ok(Self::from_seed(bytes.first_chunk::<32>().ok_or(InvalidKeyError::Form)?)),
                length => Err(InvalidKeyError::Length(length, "32, or 64 with its public half")),
            },
        }
    }

    /// Reads PKCS#8 of either version.
    fn from_pkcs8(der: &[u8]) -> Result<Self, InvalidKeyError> {
        let TypedKey { algorithm, foreign, key, rest } = TypedKey::private(der)?;
        if let Some(words) = foreign {
            return Err(InvalidKeyError::Algorithm(words));
        }
        if algorithm != encoding::ED25519 {
            let key = RsaPrivate::from_der(key, algorithm == encoding::RSASSA_PSS)?;
            return Ok(Self(Private::Rsa(key)));
        }
        let seed = Zeroizing::new(encoding::ed25519_seed(key).ok_or(InvalidKeyError::Damaged)?);
        let key = SigningKey::from_bytes(&seed);
        // The optional public half comes last.
        if has_public_half(rest) && !rest.ends_with(key.verifying_key().as_bytes()) {
            return Err(InvalidKeyError::Halves);
        }
        Ok(Self(Private::Ed25519(Box::new(key))))
    }

    fn from_openssh(bytes: &[u8]) -> Result<Self, InvalidKeyError> {
        let parsed = ssh_key::PrivateKey::from_bytes(bytes).map_err(|_| InvalidKeyError::Damaged)?;
        if parsed.is_encrypted() {
            return Err(InvalidKeyError::Encrypted);
        }
        if parsed.key_data().rsa().is_some() {
            return Err(InvalidKeyError::OpenSshRsa);
        }
        let foreign = || InvalidKeyError::Algorithm(openssh_type(&parsed.algorithm()));
        let pair = parsed.key_data().ed25519().ok_or_else(foreign)?;
        Ok(Self::from_seed(&pair.private.to_bytes()))
    }

    /// Returns the public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        match &self.0 {
            Private::Ed25519(key) => PublicKey(Public::Ed25519(key.verifying_key())),
            Private::Rsa(key) => PublicKey(Public::Rsa(key.public())),
        }
    }

    /// Returns the algorithm with which the key signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Private::Ed25519(_) => Algorithm::Ed25519,
            Private::Rsa(_) => Algorithm::RsaPssSha512,
        }
    }

    /// Signs a signature base.
    #[must_use]
    pub fn sign(&self, base: &str) -> Vec<u8> {
        match &self.0 {
            Private::Ed25519(key) => key.sign(base.as_bytes()).to_vec(),
            Private::Rsa(key) => key.sign(base.as_bytes()),
        }
    }

    /// Returns the key in PKCS#8 PEM (RFC 5958), which is wiped when dropped.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        match &self.0 {
            Private::Ed25519(key) => {
                // Encoding 32 bytes cannot fail. OpenSSL 1.1 cannot read keys that include the public half.
                let secret_key = key.to_bytes();
                let bytes = ed25519_dalek::pkcs8::KeypairBytes { secret_key, public_key: None };
                bytes.to_pkcs8_pem(LineEnding::LF).unwrap_or_default()
            }
            Private::Rsa(key) => key.to_pem(),
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

#[cfg(test)]
mod tests;
