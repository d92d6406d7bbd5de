//! The join token: one line of text with which a node enrols once.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use thiserror::Error;
use zeroize::Zeroizing;

use super::RemoteAddress;

/// The prefix of every token.
const PREFIX: &str = "wgjoin1_";
/// The number of bytes before the address: the CA's fingerprint, the secret and the expiry.
const FIXED: usize = 32 + 32 + 8;
/// The number of bytes of the trailing checksum, which detects a truncated or mistyped token.
const CHECKSUM: usize = 4;
/// The maximum length of a token, in bytes.
const LONGEST: usize = 1024;

/// A token that allows one node to enrol.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// The controlplane's address.
    pub address: RemoteAddress,
    /// The SHA-256 hash of the DER of the nodes' CA.
    pub authority: [u8; 32],
    /// The secret that identifies the invitation. It can be used once.
    pub secret: Zeroizing<[u8; 32]>,
    /// The time at which the token expires, in Unix seconds.
    pub expires_at: i64,
}

/// A text that is not a valid [`JoinToken`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidTokenError {
    /// The text does not begin with the prefix of a token.
    #[error("not a join token: it must begin with {PREFIX}, as `gwctl nodes invite` prints it")]
    Prefix,
    /// The token was truncated or changed.
    #[error("the join token is incomplete or mistyped: copy all of it, as `gwctl nodes invite` prints it")]
    Damaged,
}

impl JoinToken {
    /// Returns the token as text, which is a secret: URL-safe and without spaces.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(512));
        bytes.extend_from_slice(&self.authority);
        bytes.extend_from_slice(&*self.secret);
        bytes.extend_from_slice(&self.expires_at.to_be_bytes());
        bytes.extend_from_slice(self.address.to_string().as_bytes());
        let sum = digest(&SHA256, &bytes);
        bytes.extend_from_slice(&sum.as_ref()[..CHECKSUM]);
        let mut text = Zeroizing::new(String::with_capacity(LONGEST));
        text.push_str(PREFIX);
        BASE64_URL_SAFE_NO_PAD.encode_string(&*bytes, &mut text);
        text
    }

    /// Parses a token. Surrounding white space is ignored.
    pub fn parse(text: &str) -> Result<Self, InvalidTokenError> {
        let text = text.trim();
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidTokenError::Prefix)?;
        if text.len() > LONGEST {
            return Err(InvalidTokenError::Damaged);
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(encoded).map_err(|_| InvalidTokenError::Damaged)?;
        Self::read(&Zeroizing::new(bytes)).ok_or(InvalidTokenError::Damaged)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM>()?;
        if digest(&SHA256, body).as_ref()[..CHECKSUM] != sum[..] {
            return None;
        }
        let (fixed, address) = body.split_first_chunk::<FIXED>()?;
        let (authority, rest) = fixed.split_first_chunk::<32>()?;
        let (secret, expires_at) = rest.split_first_chunk::<32>()?;
        Some(Self {
            address: std::str::from_utf8(address).ok()?.parse().ok()?,
            authority: *authority,
            secret: Zeroizing::new(*secret),
            expires_at: i64::from_be_bytes(expires_at.try_into().ok()?),
        })
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            address: "control.example.com:7443".parse().unwrap(),
            authority: [1; 32],
            secret: Zeroizing::new([2; 32]),
            expires_at: 1_800_000_000,
        }
    }

    #[test]
    fn a_token_survives_the_round_trip_and_debug_hides_its_secret() {
        let text = token().to_text();
        assert_eq!(JoinToken::parse(&format!(" {}\n", *text)), Ok(token()));
        assert!(
            text.len() < 200 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        );
        assert!(!format!("{:?}", token()).contains('2'), "{:?}", token());
    }

    #[test]
    fn every_changed_or_missing_character_is_detected() {
        let text = token().to_text();
        for at in PREFIX.len()..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(JoinToken::parse(&changed), Err(InvalidTokenError::Damaged), "{at}");
            assert_eq!(JoinToken::parse(&text[..at]), Err(InvalidTokenError::Damaged), "cut at {at}");
        }
        for other in ["", "hello", &text[1..]] {
            assert_eq!(JoinToken::parse(other), Err(InvalidTokenError::Prefix));
        }
        assert_eq!(
            JoinToken::parse(&format!("{}{}", *text, "A".repeat(2000))),
            Err(InvalidTokenError::Damaged)
        );
    }
}
