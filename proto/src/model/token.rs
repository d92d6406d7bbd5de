//! The join token: one line of text with which a node joins, once.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use thiserror::Error;
use zeroize::Zeroizing;

use super::RemoteAddress;

/// What every token begins with.
const PREFIX: &str = "wgjoin1_";
/// Bytes before the address: the CA's fingerprint, the secret, the expiry.
const FIXED: usize = 32 + 32 + 8;
/// Bytes of the checksum at the end, by which a token that was cut or mistyped is known.
const CHECKSUM: usize = 4;
/// The longest token that is looked at, in bytes.
const LONGEST: usize = 1024;

/// What a node needs to join.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Where the controlplane is.
    pub address: RemoteAddress,
    /// SHA-256 of the DER of the nodes' CA.
    pub authority: [u8; 32],
    /// What the invitation is known by. Good once.
    pub secret: Zeroizing<[u8; 32]>,
    /// Until when it is good, in Unix seconds.
    pub expires_at: i64,
}

/// A text that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidTokenError {
    /// Something else.
    #[error("this is no join token: it begins with {PREFIX}, as `gwctl nodes invite` prints it")]
    NotOne,
    /// Cut or changed.
    #[error("the join token is not whole: copy all of it, as `gwctl nodes invite` prints it")]
    Garbled,
}

impl JoinToken {
    /// The token as text: URL-safe, without spaces. A secret.
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

    /// Reads a token; white space around it does not matter.
    pub fn parse(text: &str) -> Result<Self, InvalidTokenError> {
        let text = text.trim();
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidTokenError::NotOne)?;
        if text.len() > LONGEST {
            return Err(InvalidTokenError::Garbled);
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(encoded).map_err(|_| InvalidTokenError::Garbled)?;
        Self::read(&Zeroizing::new(bytes)).ok_or(InvalidTokenError::Garbled)
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
    fn a_token_comes_back_and_does_not_show_its_secret() {
        let text = token().to_text();
        assert_eq!(JoinToken::parse(&format!(" {}\n", *text)), Ok(token()));
        assert!(
            text.len() < 200 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        );
        assert!(!format!("{:?}", token()).contains('2'), "{:?}", token());
    }

    #[test]
    fn every_changed_or_missing_character_is_noticed() {
        let text = token().to_text();
        for at in PREFIX.len()..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(JoinToken::parse(&changed), Err(InvalidTokenError::Garbled), "{at}");
            assert_eq!(JoinToken::parse(&text[..at]), Err(InvalidTokenError::Garbled), "cut at {at}");
        }
        for other in ["", "hello", &text[1..]] {
            assert_eq!(JoinToken::parse(other), Err(InvalidTokenError::NotOne));
        }
        assert_eq!(
            JoinToken::parse(&format!("{}{}", *text, "A".repeat(2000))),
            Err(InvalidTokenError::Garbled)
        );
    }
}
