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
