//! Keys, in the forms people have them: PEM, OpenSSH and raw base64.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use thiserror::Error;
use zeroize::Zeroizing;

/// The algorithms a key may have, by their RFC 9421 §6.2 names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// `ed25519`
    Ed25519,
}

impl Algorithm {
    /// Its name in the registry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
        }
    }
}

/// Why a text is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidKey {
    /// Nothing there.
    #[error("the key is empty")]
    Empty,
    /// No form known here.
    #[error("not a key: ed25519 in PEM (PKCS#8, SPKI), OpenSSH or raw base64 is needed")]
    Form,
    /// Not ed25519.
    #[error("the key is not ed25519")]
    Algorithm,
    /// An OpenSSH key with a passphrase.
    #[error(
        "the key is encrypted with a passphrase; remove it (ssh-keygen -p) or make one with `gwctl keys generate`"
    )]
    Encrypted,
    /// A point of small order: anybody could sign for it.
    #[error("the key is weak")]
    Weak,
    /// The other half.
    #[error("this is a private key where a public key is needed")]
    Private,
    /// The other half.
    #[error("this is a public key where a private key is needed")]
    Public,
}

/// A key that verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Parses SPKI PEM, an OpenSSH line (`ssh-ed25519 AAAA… comment`) or raw base64.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let text = text.trim();
        let key = match Form::of(text)? {
            Form::Pem(label) if label.contains("PRIVATE") => return Err(InvalidKey::Private),
            Form::Pem(_) => VerifyingKey::from_public_key_pem(text).map_err(|_| InvalidKey::Algorithm)?,
            Form::OpenSsh => {
                let parsed = ssh_key::PublicKey::from_openssh(text).map_err(|_| InvalidKey::Form)?;
                let ed25519 = parsed.key_data().ed25519().ok_or(InvalidKey::Algorithm)?;
                VerifyingKey::from_bytes(&ed25519.0).map_err(|_| InvalidKey::Form)?
            }
            Form::Base64(bytes) => {
                let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| InvalidKey::Form)?;
                VerifyingKey::from_bytes(&bytes).map_err(|_| InvalidKey::Form)?
            }
        };
        if key.is_weak() { Err(InvalidKey::Weak) } else { Ok(Self(key)) }
    }

    /// Its algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        Algorithm::Ed25519
    }

    /// Whether `signature` over `base` is this key's.
    #[must_use]
    pub fn verifies(&self, base: &str, signature: &[u8]) -> bool {
        let signature = Signature::from_slice(signature);
        signature.is_ok_and(|signature| self.0.verify_strict(base.as_bytes(), &signature).is_ok())
    }

    /// SPKI PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        // Encoding 32 bytes cannot fail.
        self.0.to_public_key_pem(LineEnding::LF).unwrap_or_default()
    }
}

/// A key that signs. Never shown.
#[derive(Clone)]
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// Takes 32 random bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Parses PKCS#8 PEM, an OpenSSH private key, or a raw base64 seed (32 bytes, or 64 with the public half).
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let text = text.trim();
        match Form::of(text)? {
            Form::Pem("OPENSSH PRIVATE KEY") => {
                let parsed = ssh_key::PrivateKey::from_openssh(text).map_err(|_| InvalidKey::Form)?;
                if parsed.is_encrypted() {
                    return Err(InvalidKey::Encrypted);
                }
                let pair = parsed.key_data().ed25519().ok_or(InvalidKey::Algorithm)?;
                Ok(Self(SigningKey::from_bytes(&pair.private.to_bytes())))
            }
            Form::Pem(label) if label.contains("ENCRYPTED") => Err(InvalidKey::Encrypted),
            Form::Pem(label) if label.contains("PUBLIC") => Err(InvalidKey::Public),
            Form::Pem(_) => SigningKey::from_pkcs8_pem(text).map(Self).map_err(|_| InvalidKey::Algorithm),
            Form::OpenSsh => Err(InvalidKey::Public),
            Form::Base64(bytes) => match bytes.len() {
                32 | 64 => {
                    let seed = bytes.first_chunk::<32>().ok_or(InvalidKey::Form)?;
                    Ok(Self(SigningKey::from_bytes(seed)))
                }
                _ => Err(InvalidKey::Form),
            },
        }
    }

    /// The other half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Its algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        Algorithm::Ed25519
    }

    /// Signs a signature base.
    #[must_use]
    pub fn sign(&self, base: &str) -> Vec<u8> {
        self.0.sign(base.as_bytes()).to_vec()
    }

    /// PKCS#8 PEM (RFC 5958), wiped when dropped.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        // Encoding 32 bytes cannot fail. The public half is left out, so that OpenSSL 1.1 reads it too.
        let bytes = ed25519_dalek::pkcs8::KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        bytes.to_pkcs8_pem(LineEnding::LF).unwrap_or_default()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

enum Form<'a> {
    Pem(&'a str),
    OpenSsh,
    Base64(Zeroizing<Vec<u8>>),
}

impl<'a> Form<'a> {
    fn of(text: &'a str) -> Result<Self, InvalidKey> {
        if text.is_empty() {
            return Err(InvalidKey::Empty);
        }
        if let Some((label, _)) = text.strip_prefix("-----BEGIN ").and_then(|rest| rest.split_once("-----")) {
            return Ok(Self::Pem(label));
        }
        if text.starts_with("ssh-") || text.starts_with("ecdsa-") || text.starts_with("sk-") {
            return Ok(Self::OpenSsh);
        }
        let decoders = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE_NO_PAD];
        let decoded = decoders.iter().find_map(|engine| engine.decode(text).ok());
        decoded.map(|bytes| Self::Base64(Zeroizing::new(bytes))).ok_or(InvalidKey::Form)
    }
}
