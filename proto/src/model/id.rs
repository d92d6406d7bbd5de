//! The ids of routes and of public keys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

/// The id of a route: a UUIDv7 made by the controlplane, or any UUID made by the client for a safe retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RouteId(Uuid);

/// A text that is not a UUID.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a route id: use a UUID from `gwctl routes list`")]
pub struct InvalidRouteIdError(String);

impl RouteId {
    /// Returns a new id, sortable by time (RFC 9562 §5.7).
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// Makes an id from its 16 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Returns the 16 bytes of the id.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for RouteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for RouteId {
    type Err = InvalidRouteIdError;

    fn from_str(text: &str) -> Result<Self, InvalidRouteIdError> {
        match Uuid::try_parse(text) {
            Ok(id) if !id.is_nil() => Ok(Self(id)),
            Ok(_) | Err(_) => Err(InvalidRouteIdError(text.to_owned())),
        }
    }
}

/// The name of a public key, such as `user1.pub`: a plain file name of 1 to 128 ASCII letters, digits and
/// `. _ - @ +`, not starting with a dot. Compared exactly.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(Box<str>);

/// A text that is not a valid key id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not a key id: use 1 to 128 letters, digits and . _ - @ +, without `..` and not starting with a dot"
)]
pub struct InvalidKeyIdError(String);

impl KeyId {
    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = InvalidKeyIdError;

    fn from_str(text: &str) -> Result<Self, InvalidKeyIdError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@' | b'+');
        let shaped = (1..=128).contains(&text.len()) && text.bytes().all(allowed);
        if !shaped || text.starts_with('.') || text.contains("..") {
            return Err(InvalidKeyIdError(text.chars().take(160).collect()));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for KeyId {
    type Error = InvalidKeyIdError;

    fn try_from(text: String) -> Result<Self, InvalidKeyIdError> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_ids_are_plain_file_names() {
        assert!("user1.pub".parse::<KeyId>().is_ok());
        for bad in ["", "../admin.pub", "a/b", "a\\b", ".hidden", "a..b", "a b", "é.pub", &"x".repeat(129)] {
            assert!(bad.parse::<KeyId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn route_ids_are_uuids() {
        let id = RouteId::generate();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("42".parse::<RouteId>().is_err());
        assert!("00000000-0000-0000-0000-000000000000".parse::<RouteId>().is_err());
    }
}
