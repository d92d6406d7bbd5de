//! The signature algorithms, and the errors of reading a key.

use thiserror::Error;

/// A signature algorithm (RFC 9421 §6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// The algorithm `ed25519` (RFC 9421 §3.3.6).
    Ed25519,
    /// The algorithm `rsa-pss-sha512` (RFC 9421 §3.3.1).
    RsaPssSha512,
    /// The algorithm `rsa-v1_5-sha256` (RFC 9421 §3.3.2).
    RsaV15Sha256,
}

impl Algorithm {
    /// Returns the algorithm's name in the registry of RFC 9421.
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
pub enum InvalidKeyError {
    /// The text is empty.
    #[error("the key is empty")]
    Empty,
    /// The text has no known form of a key.
    #[error(
        "not a key: ed25519 or RSA in PEM (PKCS#8, SPKI, PKCS#1) or OpenSSH, or raw base64 of ed25519, is needed"
    )]
    Form,
    /// The file is neither text nor DER.
    #[error(
        "not text, and not a key in DER: write it as PEM (openssl pkey -in FILE -out NEW), and raw bytes as base64"
    )]
    Binary,
    /// The base64 does not have the length of an ed25519 key.
    #[error("the base64 has {0} bytes, an ed25519 key has {1}")]
    Length(usize, &'static str),
    /// The form is known, but its content cannot be decoded.
    #[error("the key is damaged: its content cannot be decoded")]
    Damaged,
    /// The block has no last line.
    #[error("the key has no last line, `-----END …` or `---- END …`: it is cut off")]
    Unfinished,
    /// The line has options of `authorized_keys`, which would not be honoured.
    #[error(
        "it has options as in authorized_keys, which are not honoured here: leave the key alone on its line"
    )]
    Options,
    /// The private key has PuTTY's own form.
    #[error(
        "a private key in PuTTY's own form, which is not read here; convert it: puttygen FILE -O private-openssh -o NEW, or \
         -O public-openssh for the public half (in PuTTYgen: Conversions, Export OpenSSH key)"
    )]
    Putty,
    /// The private key has the form of ssh.com, whose label says "encrypted" in any case.
    #[error(
        "a private key in the form of ssh.com, which is not read here; convert it: puttygen FILE -O private-openssh -o NEW"
    )]
    SshCom,
    /// The key is of another type than ed25519 or RSA.
    #[error("{0}, ed25519 or RSA is needed")]
    Algorithm(&'static str),
    /// The private key is stored with the public half of another key.
    #[error("the key's public half belongs to another key")]
    Halves,
    /// The RSA key is too short to be secure, or too long to be fast.
    #[error("an RSA key has 2048 to 8192 bits")]
    RsaSize,
    /// The key is encrypted with a passphrase.
    #[error(
        "the key is encrypted with a passphrase; remove it (ssh-keygen -p -f FILE, or openssl pkey -in FILE -out NEW), or make \
         a key with `gwctl keys generate`"
    )]
    Encrypted,
    /// The RSA key has OpenSSH's own form, which lacks two of the numbers that signing needs.
    #[error("an RSA key in OpenSSH's own form cannot sign here; convert it: ssh-keygen -p -m PEM -f FILE")]
    OpenSshRsa,
    /// The file has more keys than one key id may have.
    #[error("too many keys: one key id may have 16")]
    TooMany,
    /// The key is a point of small order, for which anybody could forge signatures.
    #[error("the key is weak")]
    Weak,
    /// The key is private, where a public one is needed.
    #[error("this is a private key where a public key is needed")]
    Private,
    /// The key is public, where a private one is needed.
    #[error("this is a public key where a private key is needed")]
    Public,
}
