//! Sessions that stay at one backend by a cookie.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::objects::only_objects;
use crate::model::words::Describe;

/// The maximum length of a cookie's name.
const MAX_NAME: usize = 64;
/// The maximum lifetime of a cookie, in seconds: the 400 days that browsers accept.
const MAX_TTL: u32 = 400 * 24 * 3600;

/// A cookie that keeps a client at the backend which answered its first request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Sticky {
    /// The name of the cookie. A name with the prefix `__Host-` cannot be set by other hosts of the same domain.
    #[serde(default)]
    pub cookie: CookieName,
    /// The lifetime of the cookie, in seconds from 1 to 34560000, counted from the response that sets it. If absent, the
    /// cookie lasts until the browser closes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<CookieTtl>,
}

/// The name of a cookie: a token (RFC 6265 §4.1.1) of at most 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct CookieName(Box<str>);

/// The lifetime of a cookie, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u64", into = "u64")]
#[schemars(with = "u64")]
pub struct CookieTtl(u32);

/// An invalid cookie.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidCookieError {
    /// The name is not a token.
    #[error("`{0}` is not the name of a cookie: write 1 to {MAX_NAME} letters, digits, `-`, `_` or `.`")]
    Name(String),
    /// The lifetime is out of bounds.
    #[error("the lifetime of a cookie must be from 1 s to 400 days")]
    Ttl,
}

impl CookieName {
    /// The name that a cookie has by default.
    pub const DEFAULT: &'static str = "__Host-backend";

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for CookieName {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

impl CookieTtl {
    /// Returns the lifetime in seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }
}

impl TryFrom<String> for CookieName {
    type Error = InvalidCookieError;

    fn try_from(text: String) -> Result<Self, InvalidCookieError> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if text.is_empty() || text.len() > MAX_NAME || !text.bytes().all(fits) {
            return Err(InvalidCookieError::Name(text));
        }
        Ok(Self(text.into()))
    }
}

impl From<CookieName> for String {
    fn from(name: CookieName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for CookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<u64> for CookieTtl {
    type Error = InvalidCookieError;

    fn try_from(seconds: u64) -> Result<Self, InvalidCookieError> {
        let fitting = u32::try_from(seconds).ok().filter(|seconds| (1..=MAX_TTL).contains(seconds));
        fitting.map(Self).ok_or(InvalidCookieError::Ttl)
    }
}

impl From<CookieTtl> for u64 {
    fn from(ttl: CookieTtl) -> Self {
        ttl.0.into()
    }
}

only_objects!(Sticky);

impl Describe for Sticky {
    fn describe(&self) -> String {
        match self.ttl {
            Some(ttl) => format!("by cookie {} for {} s", self.cookie, ttl.0),
            None => format!("by cookie {}", self.cookie),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<Sticky, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn a_cookie_has_a_default_name_and_may_have_a_lifetime() {
        for (value, described) in [
            (json!({}), "by cookie __Host-backend"),
            (json!({ "cookie": "SRV.1_a-b" }), "by cookie SRV.1_a-b"),
            (json!({ "ttl": 1 }), "by cookie __Host-backend for 1 s"),
            (json!({ "ttl": MAX_TTL }), "by cookie __Host-backend for 34560000 s"),
        ] {
            assert_eq!(read(value).unwrap().describe(), described);
        }
    }

    #[test]
    fn an_invalid_cookie_is_refused() {
        for value in ["", "a b", "a;b", "a=b", "a\r\nb", "\u{e9}", "a,b", "\"a\"", &"a".repeat(65)] {
            let error = read(json!({ "cookie": value })).unwrap_err();
            assert!(error.contains("name of a cookie"), "{value}: {error}");
        }
        for value in [json!({ "ttl": 0 }), json!({ "ttl": u64::from(MAX_TTL) + 1 })] {
            assert!(read(value.clone()).unwrap_err().contains("400 days"), "{value}");
        }
        for value in
            [json!({ "name": "x" }), json!({ "ttl": -1 }), json!({ "ttl": 0.5 }), json!(true), json!(["srv"])]
        {
            assert!(read(value.clone()).is_err(), "{value}");
        }
    }
}
