//! The algorithms of signatures, and the faults of keys.

use thiserror::Error;

/// The algorithms a signature may have, by their RFC 9421 §6.2 names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// `ed25519` (§3.3.6)
    Ed25519,
    /// `rsa-pss-sha512` (§3.3.1)
    RsaPssSha512,
    /// `rsa-v1_5-sha256` (§3.3.2)
    RsaV15Sha256,
}

impl Algorithm {
    /// Its name in the registry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::RsaPssSha512 => "rsa-pss-sha512",
            Self::RsaV15Sha256 => "rsa-v1_5-sha256",
        }
    }
}

/// A text that is not a usable key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidKey {
    /// Nothing there.
    #[error("the key is empty")]
    Empty,
    /// No form known here.
    #[error(
        "not a key: ed25519 or RSA in PEM (PKCS#8, SPKI, PKCS#1) or OpenSSH, or raw base64 of ed25519, is needed"
    )]
    Form,
    /// Neither ed25519 nor RSA.
    #[error("the key is neither ed25519 nor RSA")]
    Algorithm,
    /// An RSA key too short to be safe, or too long to be quick.
    #[error("an RSA key has 2048 to 8192 bits")]
    RsaSize,
    /// An OpenSSH key with a passphrase.
    #[error(
        "the key is encrypted with a passphrase; remove it (ssh-keygen -p) or make one with `gwctl keys generate`"
    )]
    Encrypted,
    /// An RSA key in OpenSSH's own form: it lacks two of the numbers that signing needs.
    #[error("an RSA key in OpenSSH's own form cannot sign here; convert it: ssh-keygen -p -m PEM -f FILE")]
    OpenSshRsa,
    /// More than one name stands for.
    #[error("there are more than 16 keys")]
    TooMany,
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
