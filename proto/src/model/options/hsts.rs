//! HTTP Strict Transport Security (RFC 6797).

use std::time::Duration;

use http::HeaderValue;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::object::object;
use crate::model::words::Describe;

/// One year, in seconds: the least `max_age` that the preload lists of browsers accept.
const YEAR: u32 = 365 * 24 * 60 * 60;
/// The maximum of `max_age`, in seconds: ten years.
const MAX_AGE: u32 = 10 * YEAR;

/// The policy that browsers use a host with https only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(into = "HstsSpec")]
#[schemars(with = "HstsSpec")]
pub struct Hsts {
    spec: HstsSpec,
    /// The value of Strict-Transport-Security.
    value: HeaderValue,
}

/// A policy of HTTP Strict Transport Security, in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HstsSpec {
    /// The time for which browsers remember the policy, in seconds from 0, which ends it, to 315360000 (ten years).
    max_age: u32,
    /// True if the policy holds for all hosts below this one too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    include_subdomains: bool,
    /// True if browsers may put the host into the lists that they are delivered with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    preload: bool,
}

/// An invalid policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidHstsError {
    /// The time is out of range.
    #[error("the time of the HSTS policy must be whole seconds, at most {MAX_AGE} (ten years)")]
    MaxAge,
    /// The preload lists of browsers would not accept the policy.
    #[error("`preload` needs a time of at least {YEAR} seconds (365 days), and the subdomains included")]
    Preload,
}

impl Hsts {
    /// Makes a policy that browsers remember for `max_age`.
    pub fn new(max_age: Duration, include_subdomains: bool, preload: bool) -> Result<Self, InvalidHstsError> {
        let seconds = u32::try_from(max_age.as_secs()).ok().filter(|_| max_age.subsec_nanos() == 0);
        let max_age = seconds.filter(|seconds| *seconds <= MAX_AGE).ok_or(InvalidHstsError::MaxAge)?;
        if preload && (max_age < YEAR || !include_subdomains) {
            return Err(InvalidHstsError::Preload);
        }
        let spec = HstsSpec { max_age, include_subdomains, preload };
        let text = format!(
            "max-age={max_age}{}{}",
            if include_subdomains { "; includeSubDomains" } else { "" },
            if preload { "; preload" } else { "" }
        );
        let value = HeaderValue::try_from(text).map_err(|_| InvalidHstsError::MaxAge)?;
        Ok(Self { spec, value })
    }

    /// Returns the value of Strict-Transport-Security.
    #[must_use]
    pub const fn value(&self) -> &HeaderValue {
        &self.value
    }
}

impl From<Hsts> for HstsSpec {
    fn from(hsts: Hsts) -> Self {
        hsts.spec
    }
}

impl<'de> Deserialize<'de> for Hsts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let HstsSpec { max_age, include_subdomains, preload } = object(deserializer)?;
        Self::new(Duration::from_secs(max_age.into()), include_subdomains, preload).map_err(D::Error::custom)
    }
}

impl Describe for Hsts {
    fn describe(&self) -> String {
        self.value.to_str().unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_policy_is_sent_as_written() {
        for (json, value) in [
            (json!({ "max_age": 0 }), "max-age=0"),
            (json!({ "max_age": 300 }), "max-age=300"),
            (json!({ "max_age": 300, "include_subdomains": true }), "max-age=300; includeSubDomains"),
            (
                json!({ "max_age": 31536000, "include_subdomains": true, "preload": true }),
                "max-age=31536000; includeSubDomains; preload",
            ),
            (json!({ "max_age": 315360000 }), "max-age=315360000"),
        ] {
            let hsts: Hsts = serde_json::from_value(json.clone()).unwrap();
            assert_eq!(hsts.value(), value);
            assert_eq!(serde_json::to_value(&hsts).unwrap(), json);
        }
    }

    #[test]
    fn an_invalid_policy_is_refused() {
        let year = 31_536_000;
        for (json, words) in [
            (json!({}), "missing field `max_age`"),
            (json!([300]), "invalid type: sequence"),
            (json!(300), "invalid type: integer"),
            (json!({ "max_age": -1 }), "invalid value: integer `-1`"),
            (json!({ "max_age": 1.5 }), "invalid type: floating point"),
            (json!({ "max_age": 315360001 }), "ten years"),
            (json!({ "max_age": 5_000_000_000_u64 }), "invalid value"),
            (json!({ "max_age": year, "includeSubDomains": true }), "unknown field `includeSubDomains`"),
            (json!({ "max_age": year, "preload": true }), "`preload` needs"),
            (json!({ "max_age": year - 1, "include_subdomains": true, "preload": true }), "`preload` needs"),
        ] {
            let error = serde_json::from_value::<Hsts>(Value::clone(&json)).unwrap_err().to_string();
            assert!(error.contains(words), "{json}: {error}");
        }
        assert_eq!(Hsts::new(Duration::from_millis(1500), false, false), Err(InvalidHstsError::MaxAge));
        assert_eq!(Hsts::new(Duration::MAX, false, false), Err(InvalidHstsError::MaxAge));
    }
}
