//! The detection of a key's text form.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::algorithm::InvalidKeyError;

/// The beginnings of the first and last lines of each multi-line form.
pub(super) const PEM_BEGIN: &str = "-----BEGIN ";
pub(super) const PEM_END: &str = "-----END ";
pub(super) const RFC4716_BEGIN: &str = "---- BEGIN ";
pub(super) const RFC4716_END: &str = "---- END ";
const PUTTY_BEGIN: &str = "PuTTY-User-Key-File-";
const PUTTY_END: &str = "Private-MAC:";

/// Returns whether this is the first line of a multi-line key.
pub(super) fn begins_block(line: &str) -> bool {
    [PEM_BEGIN, RFC4716_BEGIN, PUTTY_BEGIN].iter().any(|begin| line.starts_with(begin))
}

/// Returns whether this is the last line of a multi-line key.
pub(super) fn ends_block(line: &str) -> bool {
    [PEM_END, RFC4716_END, PUTTY_END].iter().any(|end| line.starts_with(end))
}

/// The text form of a key.
pub(super) enum Form<'a> {
    /// PEM with this label (RFC 7468).
    Pem(&'a str),
    /// A block as written by `ssh-keygen -e` and PuTTYgen, with this label (RFC 4716).
    Rfc4716(&'a str),
    /// A line with an OpenSSH public key.
    OpenSsh,
    /// The decoded bytes of base64.
    Base64(Zeroizing<Vec<u8>>),
}

impl<'a> Form<'a> {
    /// Detects the form of a text without surrounding white space.
    pub(super) fn of(text: &'a str) -> Result<Self, InvalidKeyError> {
        if text.is_empty() {
            return Err(InvalidKeyError::Empty);
        }
        if let Some((_, block)) = text.split_once(PEM_BEGIN) {
            return block.split_once("-----").map(|(label, _)| Self::Pem(label)).ok_or(InvalidKeyError::Form);
        }
        if let Some((_, block)) = text.split_once(RFC4716_BEGIN) {
            return block
                .split_once(" ----")
                .map(|(label, _)| Self::Rfc4716(label))
                .ok_or(InvalidKeyError::Form);
        }
        if text.starts_with(PUTTY_BEGIN) {
            return Err(InvalidKeyError::Putty);
        }
        let is_openssh =
            |word: &str| ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|p| word.starts_with(p));
        let mut words = text.split_whitespace();
        if words.next().is_some_and(is_openssh) {
            return Ok(Self::OpenSsh);
        }
        if words.any(is_openssh) {
            return Err(InvalidKeyError::Options);
        }
        let decoders = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE_NO_PAD];
        let decoded = decoders.iter().find_map(|engine| engine.decode(text).ok());
        decoded.map(|bytes| Self::Base64(Zeroizing::new(bytes))).ok_or(InvalidKeyError::Form)
    }
}

/// Returns a description of the type of an OpenSSH key that cannot be parsed.
pub(super) fn foreign_openssh(line: &str) -> Option<&'static str> {
    let name = line.split_whitespace().next()?;
    match name {
        _ if name.ends_with("-cert-v01@openssh.com") => Some("an OpenSSH certificate"),
        _ if name.starts_with("sk-") => Some("a key of a security token"),
        "ssh-dss" => Some("a DSA key"),
        _ => None,
    }
}

/// Returns a description of the type of an unsupported OpenSSH key.
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

/// Returns a description of the type of an unsupported PEM label.
pub(super) fn foreign_label(label: &str) -> Option<&'static str> {
    match label {
        // OpenSSL writes the parameters of a curve before the key.
        "EC PRIVATE KEY" | "EC PARAMETERS" => Some("an elliptic-curve key"),
        "DSA PRIVATE KEY" | "DSA PUBLIC KEY" => Some("a DSA key"),
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => Some("a certificate"),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Some("a certificate request"),
        "PGP PUBLIC KEY BLOCK" | "PGP PRIVATE KEY BLOCK" => Some("a PGP key"),
        "DH PARAMETERS" => Some("parameters without a key"),
        _ => None,
    }
}
