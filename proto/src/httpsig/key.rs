//! Keys, in the forms people have them: PEM, OpenSSH and raw base64.

mod algorithm;
mod form;
mod rsa;
mod several;

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

pub use self::algorithm::{Algorithm, InvalidKey};
use self::form::Form;
use self::rsa::{RsaPrivate, RsaPublic};
pub use self::several::PublicKeys;

/// A key that verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(Public);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Public {
    Ed25519(VerifyingKey),
    Rsa(RsaPublic),
}

impl PublicKey {
    /// Parses SPKI or PKCS#1 PEM, an OpenSSH line (`ssh-ed25519 AAAA… comment`, `ssh-rsa …`), or raw base64 of an
    /// ed25519 key.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let text = text.trim();
        let key = match Form::of(text)? {
            Form::Pem(label) if label.contains("PRIVATE") => return Err(InvalidKey::Private),
            Form::Pem(_) => match RsaPublic::from_pem(text)? {
                Some(key) => return Ok(Self(Public::Rsa(key))),
                None => VerifyingKey::from_public_key_pem(text).map_err(|_| InvalidKey::Algorithm)?,
            },
            Form::OpenSsh => {
                let parsed = ssh_key::PublicKey::from_openssh(text).map_err(|_| InvalidKey::Form)?;
                if let Some(key) = parsed.key_data().rsa() {
                    return RsaPublic::from_openssh(key).map(|key| Self(Public::Rsa(key)));
                }
                let ed25519 = parsed.key_data().ed25519().ok_or(InvalidKey::Algorithm)?;
                VerifyingKey::from_bytes(&ed25519.0).map_err(|_| InvalidKey::Form)?
            }
            Form::Base64(bytes) => {
                let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| InvalidKey::Form)?;
                VerifyingKey::from_bytes(&bytes).map_err(|_| InvalidKey::Form)?
            }
        };
        if key.is_weak() { Err(InvalidKey::Weak) } else { Ok(Self(Public::Ed25519(key))) }
    }

    /// The algorithms its signatures may have: one, or for a common RSA key either of two.
    #[must_use]
    pub fn algorithms(&self) -> &'static [Algorithm] {
        match &self.0 {
            Public::Ed25519(_) => &[Algorithm::Ed25519],
            Public::Rsa(key) => key.algorithms(),
        }
    }

    /// Whether `signature` over `base` is this key's, made with `algorithm`, one of [`PublicKey::algorithms`].
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

    /// SPKI PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        match &self.0 {
            // Encoding 32 bytes cannot fail.
            Public::Ed25519(key) => key.to_public_key_pem(LineEnding::LF).unwrap_or_default(),
            Public::Rsa(key) => key.to_pem(),
        }
    }
}

/// A key that signs. Never shown.
#[derive(Clone)]
pub struct PrivateKey(Private);

#[derive(Clone)]
enum Private {
    Ed25519(Box<SigningKey>),
    Rsa(RsaPrivate),
}

impl PrivateKey {
    /// Takes 32 random bytes: an ed25519 key.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(Private::Ed25519(Box::new(SigningKey::from_bytes(seed))))
    }

    /// Parses PKCS#8 or PKCS#1 PEM, an OpenSSH private key of ed25519, or a raw base64 seed of an ed25519 key (32 bytes, or 64
    /// with the public half).
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let text = text.trim();
        match Form::of(text)? {
            Form::Pem("OPENSSH PRIVATE KEY") => Self::from_openssh(text),
            Form::Pem(label) if label.contains("ENCRYPTED") => Err(InvalidKey::Encrypted),
            Form::Pem(label) if label.contains("PUBLIC") => Err(InvalidKey::Public),
            Form::Pem(_) => match RsaPrivate::from_pem(text)? {
                Some(key) => Ok(Self(Private::Rsa(key))),
                None => {
                    let key = SigningKey::from_pkcs8_pem(text).map_err(|_| InvalidKey::Algorithm)?;
                    Ok(Self(Private::Ed25519(Box::new(key))))
                }
            },
            Form::OpenSsh => Err(InvalidKey::Public),
            Form::Base64(bytes) => match bytes.len() {
                32 | 64 => Ok(Self::from_seed(bytes.first_chunk::<32>().ok_or(InvalidKey::Form)?)),
                _ => Err(InvalidKey::Form),
            },
        }
    }

    fn from_openssh(text: &str) -> Result<Self, InvalidKey> {
        let parsed = ssh_key::PrivateKey::from_openssh(text).map_err(|_| InvalidKey::Form)?;
        if parsed.is_encrypted() {
            return Err(InvalidKey::Encrypted);
        }
        if parsed.key_data().rsa().is_some() {
            return Err(InvalidKey::OpenSshRsa);
        }
        let pair = parsed.key_data().ed25519().ok_or(InvalidKey::Algorithm)?;
        Ok(Self::from_seed(&pair.private.to_bytes()))
    }

    /// The other half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        match &self.0 {
            Private::Ed25519(key) => PublicKey(Public::Ed25519(key.verifying_key())),
            Private::Rsa(key) => PublicKey(Public::Rsa(key.public())),
        }
    }

    /// The algorithm it signs with.
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

    /// PKCS#8 PEM (RFC 5958), wiped when dropped.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        match &self.0 {
            Private::Ed25519(key) => {
                // Encoding 32 bytes cannot fail. The public half is left out, so that OpenSSL 1.1 reads it too.
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
