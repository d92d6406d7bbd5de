//! Which of the forms a text is.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::algorithm::InvalidKey;

/// The form of a key, as its first characters say.
pub(super) enum Form<'a> {
    /// PEM with this label (RFC 7468).
    Pem(&'a str),
    /// A line of an OpenSSH public key.
    OpenSsh,
    /// Bytes.
    Base64(Zeroizing<Vec<u8>>),
}

impl<'a> Form<'a> {
    /// Looks at a text that has no space around it.
    pub(super) fn of(text: &'a str) -> Result<Self, InvalidKey> {
        if text.is_empty() {
            return Err(InvalidKey::Empty);
        }
        if let Some((_, block)) = text.split_once("-----BEGIN ") {
            return block.split_once("-----").map(|(label, _)| Self::Pem(label)).ok_or(InvalidKey::Form);
        }
        if text.starts_with("PuTTY-User-Key-File-") {
            return Err(InvalidKey::Putty);
        }
        let is_openssh =
            |word: &str| ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|p| word.starts_with(p));
        let mut words = text.split_whitespace();
        if words.next().is_some_and(is_openssh) {
            return Ok(Self::OpenSsh);
        }
        if words.any(is_openssh) {
            return Err(InvalidKey::Options);
        }
        let decoders = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE_NO_PAD];
        let decoded = decoders.iter().find_map(|engine| engine.decode(text).ok());
        decoded.map(|bytes| Self::Base64(Zeroizing::new(bytes))).ok_or(InvalidKey::Form)
    }
}

/// The type of an OpenSSH key, in words.
pub(super) fn openssh_type(algorithm: &ssh_key::Algorithm) -> &'static str {
    use ssh_key::{Algorithm, EcdsaCurve};
    match algorithm {
        Algorithm::Dsa => "a DSA key",
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 } => "an ECDSA P-256 key",
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 } => "an ECDSA P-384 key",
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 } => "an ECDSA P-521 key",
        Algorithm::SkEcdsaSha2NistP256 | Algorithm::SkEd25519 => "a key of a security token",
        _ => "a key of another type",
    }
}

/// The type of key that a PEM label stands for, if it is none that is used here.
pub(super) fn foreign_label(label: &str) -> Option<&'static str> {
    match label {
        "EC PRIVATE KEY" => Some("an elliptic-curve key"),
        "DSA PRIVATE KEY" | "DSA PUBLIC KEY" => Some("a DSA key"),
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => Some("a certificate"),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Some("a certificate request"),
        "PGP PUBLIC KEY BLOCK" | "PGP PRIVATE KEY BLOCK" => Some("a PGP key"),
        "EC PARAMETERS" | "DH PARAMETERS" => Some("parameters without a key"),
        _ => None,
    }
}
