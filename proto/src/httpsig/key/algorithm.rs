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
pub enum InvalidKeyError {
    /// Nothing there.
    #[error("the key is empty")]
    Empty,
    /// No form known here.
    #[error(
        "not a key: ed25519 or RSA in PEM (PKCS#8, SPKI, PKCS#1) or OpenSSH, or raw base64 of ed25519, is needed"
    )]
    Form,
    /// Bytes that are no text, and no DER either.
    #[error(
        "not text, and not a key in DER: write it as PEM (openssl pkey -in FILE -out NEW), and raw bytes as base64"
    )]
    Binary,
    /// Base64 of some other length than an ed25519 key.
    #[error("{0} bytes of base64, where an ed25519 key has {1}")]
    Length(usize, &'static str),
    /// A form that is known, with something else in it.
    #[error("the key is damaged: what it says it is cannot be read from it")]
    Damaged,
    /// A block without its last line.
    #[error("the key has no last line, `-----END …` or `---- END …`: it is cut off")]
    Unfinished,
    /// A line of `authorized_keys` with options, which would not be honoured.
    #[error(
        "it has options as in authorized_keys, which are not honoured here: leave the key alone on its line"
    )]
    Options,
    /// The private key of PuTTY's own form.
    #[error(
        "a private key in PuTTY's own form, which is not read here; convert it: puttygen FILE -O private-openssh -o NEW, or \
         -O public-openssh for the public half (in PuTTYgen: Conversions, Export OpenSSH key)"
    )]
    Putty,
    /// The private key of the form of ssh.com, which its label calls encrypted in any case.
    #[error(
        "a private key in the form of ssh.com, which is not read here; convert it: puttygen FILE -O private-openssh -o NEW"
    )]
    SshCom,
    /// Neither ed25519 nor RSA, but this.
    #[error("{0}, ed25519 or RSA is needed")]
    Algorithm(&'static str),
    /// A private key that comes with the public half of another.
    #[error("the key's public half belongs to another key")]
    Halves,
    /// An RSA key too short to be safe, or too long to be quick.
    #[error("an RSA key has 2048 to 8192 bits")]
    RsaSize,
    /// An OpenSSH key with a passphrase.
    #[error(
        "the key is encrypted with a passphrase; remove it (ssh-keygen -p -f FILE, or openssl pkey -in FILE -out NEW), or make \
         a key with `gwctl keys generate`"
    )]
    Encrypted,
    /// An RSA key in OpenSSH's own form: it lacks two of the numbers that signing needs.
    #[error("an RSA key in OpenSSH's own form cannot sign here; convert it: ssh-keygen -p -m PEM -f FILE")]
    OpenSshRsa,
    /// One more than one name may stand for.
    #[error("it is one too many: 16 keys may have one name")]
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
