//! Password hashes: argon2id in PHC format (RFC 9106) and bcrypt, with bounds on their cost.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::alphabet::{BCRYPT, STANDARD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use thiserror::Error;

/// The memory of an argon2id hash, in KiB.
const MEMORY_KIB: std::ops::RangeInclusive<u32> = 4 * 1024..=64 * 1024;
/// The maximum product of the memory in KiB and the number of passes of an argon2id hash, which is its cost.
const MAX_MEMORY_PASSES: u32 = 4 * 64 * 1024;
/// The number of passes over the memory of an argon2id hash.
const PASSES: std::ops::RangeInclusive<u32> = 1..=16;
/// The number of lanes of an argon2id hash.
const LANES: std::ops::RangeInclusive<u32> = 1..=8;
/// The size of the salt of an argon2id hash, in bytes.
const SALT: std::ops::RangeInclusive<usize> = 8..=64;
/// The size of the output of an argon2id hash, in bytes.
const OUTPUT: std::ops::RangeInclusive<usize> = 16..=64;
/// The cost of a bcrypt hash: the binary logarithm of its rounds.
const BCRYPT_COST: std::ops::RangeInclusive<u32> = 5..=12;

/// A password hash. Its text is shown only where it is serialized.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(into = "String")]
#[schemars(with = "String")]
pub struct PasswordHash {
    text: Box<str>,
    scheme: PasswordScheme,
}

/// The algorithm of a password hash, with its parameters, salt and output.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordScheme {
    /// argon2id, version 0x13 (RFC 9106).
    Argon2id {
        /// The memory, in KiB.
        memory: u32,
        /// The number of passes over the memory.
        passes: u32,
        /// The number of lanes.
        lanes: u32,
        /// The salt.
        salt: Box<[u8]>,
        /// The output.
        output: Box<[u8]>,
    },
    /// bcrypt.
    Bcrypt {
        /// The binary logarithm of the number of rounds.
        cost: u32,
        /// The salt.
        salt: [u8; 16],
        /// The output.
        output: [u8; 23],
    },
}

/// A text that is not an accepted [`PasswordHash`]. It may be a password, so it is not part of the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidPasswordHashError {
    /// The text is not a hash.
    #[error(
        "this is not a password hash, and passwords are not accepted in plain text: `gwctl hash-password` makes a hash"
    )]
    Plain,
    /// The hash has another algorithm.
    #[error(
        "the algorithm of this password hash is not argon2id (v=19) or bcrypt ($2b$, $2a$, $2y$): `gwctl hash-password` makes a hash"
    )]
    Algorithm,
    /// The hash is damaged or incomplete.
    #[error(
        "this {0} password hash is damaged or incomplete: copy it again, or make one with `gwctl hash-password`"
    )]
    Malformed(&'static str),
    /// The cost of an argon2id hash is out of range.
    #[error(
        "the cost of this argon2id password hash is out of range: m must be from 4096 to 65536, t from 1 to 16, \
         m times t at most 262144, and p from 1 to 8; `gwctl hash-password` makes a hash"
    )]
    Argon2Cost,
    /// The cost of a bcrypt hash is out of range.
    #[error(
        "the cost of this bcrypt password hash is out of range: it must be from 5 to 12; `gwctl hash-password` makes a hash"
    )]
    BcryptCost,
}

/// Returns a decoder of base64 without padding.
const fn unpadded(alphabet: &base64::alphabet::Alphabet, trailing_bits: bool) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(trailing_bits);
    GeneralPurpose::new(alphabet, config)
}

impl PasswordHash {
    /// Parses an argon2id hash in PHC format, or a bcrypt hash.
    pub fn parse(text: &str) -> Result<Self, InvalidPasswordHashError> {
        let Some(inner) = text.strip_prefix('$') else { return Err(InvalidPasswordHashError::Plain) };
        let scheme = match inner.split_once('$') {
            Some(("argon2id", rest)) => argon2id(rest)?,
            Some(("2a" | "2b" | "2y", rest)) => bcrypt(rest)?,
            Some(_) => return Err(InvalidPasswordHashError::Algorithm),
            None => return Err(InvalidPasswordHashError::Plain),
        };
        Ok(Self { text: text.into(), scheme })
    }

    /// Returns the algorithm with its parameters.
    #[must_use]
    pub const fn scheme(&self) -> &PasswordScheme {
        &self.scheme
    }

    /// Returns the text of the hash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns a text that tells hashes apart and does not reveal them.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = digest(&SHA256, self.text.as_bytes());
        let hex: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("{} hash {hex}", self.scheme.name())
    }
}

impl PasswordScheme {
    /// Returns the name of the algorithm.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Argon2id { .. } => "argon2id",
            Self::Bcrypt { .. } => "bcrypt",
        }
    }
}

/// Parses `v=19$m=…,t=…,p=…$salt$output`.
fn argon2id(text: &str) -> Result<PasswordScheme, InvalidPasswordHashError> {
    let malformed = InvalidPasswordHashError::Malformed("argon2id");
    let parts: Vec<&str> = text.split('$').collect();
    let [version, params, salt, output] = parts[..] else { return Err(malformed) };
    if version != "v=19" {
        return Err(InvalidPasswordHashError::Algorithm);
    }
    let params: Vec<&str> = params.split(',').collect();
    let [memory, passes, lanes] = params[..] else { return Err(malformed) };
    let number = |param, name| number(param, name).ok_or(malformed);
    let (memory, passes, lanes) = (number(memory, "m=")?, number(passes, "t=")?, number(lanes, "p=")?);
    let is_bounded = MEMORY_KIB.contains(&memory) && PASSES.contains(&passes) && LANES.contains(&lanes);
    if !is_bounded || memory * passes > MAX_MEMORY_PASSES {
        return Err(InvalidPasswordHashError::Argon2Cost);
    }
    let decode = |text: &str, sizes: &std::ops::RangeInclusive<usize>| {
        let bytes = unpadded(&STANDARD, false).decode(text).ok();
        bytes.filter(|bytes| sizes.contains(&bytes.len())).map(Vec::into_boxed_slice).ok_or(malformed)
    };
    let (salt, output) = (decode(salt, &SALT)?, decode(output, &OUTPUT)?);
    Ok(PasswordScheme::Argon2id { memory, passes, lanes, salt, output })
}

/// Parses `name=digits`. A number that is too large for the type is too large for the bounds.
fn number(param: &str, name: &str) -> Option<u32> {
    let digits = param.strip_prefix(name)?;
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u32::MAX))
}

/// Parses `cost$` and 22 characters of salt and 31 of output.
fn bcrypt(text: &str) -> Result<PasswordScheme, InvalidPasswordHashError> {
    let malformed = InvalidPasswordHashError::Malformed("bcrypt");
    let (cost, rest) = text.split_once('$').ok_or(malformed)?;
    if cost.len() != 2 || !cost.bytes().all(|b| b.is_ascii_digit()) {
        return Err(malformed);
    }
    let cost = cost.parse().map_err(|_| malformed)?;
    if !BCRYPT_COST.contains(&cost) {
        return Err(InvalidPasswordHashError::BcryptCost);
    }
    let (salt, output) = rest.split_at_checked(22).ok_or(malformed)?;
    // Some implementations set the unused bits of the last character.
    let decode = |text: &str| unpadded(&BCRYPT, true).decode(text).map_err(|_| malformed);
    let salt = decode(salt)?.try_into().map_err(|_| malformed)?;
    let output = decode(output)?.try_into().map_err(|_| malformed)?;
    Ok(PasswordScheme::Bcrypt { cost, salt, output })
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHash({})", self.fingerprint())
    }
}

impl fmt::Debug for PasswordScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordScheme({})", self.name())
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> Self {
        hash.text.into()
    }
}

impl<'de> Deserialize<'de> for PasswordHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The error of serde for another type than a string would contain the value, which may be a password.
        let hash = match Value::deserialize(deserializer)? {
            Value::String(text) => Self::parse(&text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                Err(InvalidPasswordHashError::Plain)
            }
        };
        hash.map_err(D::Error::custom)
    }
}
