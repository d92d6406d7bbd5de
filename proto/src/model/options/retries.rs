//! Repeated attempts to forward a request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::objects::only_objects;
use crate::model::words::{Describe, UnknownWordError, Words, words};

/// The maximum number of attempts to forward a request.
pub const MAX_ATTEMPTS: u8 = 10;

/// The attempts to forward a request, and the failures after which there is another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Retries {
    /// The maximum number of attempts, the first included, from 1 to 10.
    pub attempts: Attempts,
    /// The failures after which there is another attempt, at another backend if there is one. If a part of the request
    /// may have been sent, only an idempotent request without a body is repeated; after a part of the response was
    /// forwarded, none.
    #[serde(default)]
    pub on: RetryConditions,
}

/// A number of attempts, from 1 to [`MAX_ATTEMPTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u64", into = "u64")]
#[schemars(with = "u64")]
pub struct Attempts(u8);

words! {
    /// A failure after which a request may be repeated.
    pub enum RetryOn {
        /// The backend cannot be connected to: it refuses, cannot be reached, or does not accept in time.
        #[default]
        Connect = "connect",
        /// The backend closes the connection without a response.
        Closed = "closed",
        /// The head of the response does not arrive in time.
        Timeout = "timeout",
        /// The backend responds 502 (Bad Gateway).
        BadGateway = "502",
        /// The backend responds 503 (Service Unavailable).
        ServiceUnavailable = "503",
        /// The backend responds 504 (Gateway Timeout).
        GatewayTimeout = "504",
    }
}

/// A set of at least one [`RetryOn`], by default only [`RetryOn::Connect`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<RetryWord>", into = "Vec<RetryOn>")]
#[schemars(with = "Vec<RetryOn>")]
pub struct RetryConditions(u8);

/// A condition in JSON: its word, or a status as a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum RetryWord {
    Word(String),
    Status(u64),
}

/// Invalid retries.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidRetriesError {
    /// The number of attempts is out of bounds.
    #[error("the number of attempts must be from 1 to {MAX_ATTEMPTS}, the first included")]
    Attempts,
    /// There are no conditions.
    #[error("`on` is empty: name at least one failure, or write 1 attempt")]
    NoCondition,
    /// A condition is not known.
    #[error(transparent)]
    Condition(#[from] UnknownWordError),
}

impl Attempts {
    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u64> for Attempts {
    type Error = InvalidRetriesError;

    fn try_from(number: u64) -> Result<Self, InvalidRetriesError> {
        let fitting = u8::try_from(number).ok().filter(|number| (1..=MAX_ATTEMPTS).contains(number));
        fitting.map(Self).ok_or(InvalidRetriesError::Attempts)
    }
}

impl From<Attempts> for u64 {
    fn from(attempts: Attempts) -> Self {
        attempts.0.into()
    }
}

impl RetryConditions {
    /// Parses a set of words.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidRetriesError> {
        let mut set = 0;
        for word in words {
            set |= bit(RetryOn::parse(word)?);
        }
        if set == 0 { Err(InvalidRetriesError::NoCondition) } else { Ok(Self(set)) }
    }

    /// Returns whether the set contains a condition.
    #[must_use]
    pub fn contain(self, condition: RetryOn) -> bool {
        self.0 & bit(condition) != 0
    }
}

const fn bit(condition: RetryOn) -> u8 {
    1 << condition as u8
}

impl Default for RetryConditions {
    fn default() -> Self {
        Self(bit(RetryOn::Connect))
    }
}

impl TryFrom<Vec<RetryWord>> for RetryConditions {
    type Error = InvalidRetriesError;

    fn try_from(words: Vec<RetryWord>) -> Result<Self, InvalidRetriesError> {
        let texts: Vec<String> = words
            .into_iter()
            .map(|word| match word {
                RetryWord::Word(text) => text,
                RetryWord::Status(status) => status.to_string(),
            })
            .collect();
        Self::parse(texts.iter().map(String::as_str))
    }
}

impl From<RetryConditions> for Vec<RetryOn> {
    fn from(conditions: RetryConditions) -> Self {
        RetryOn::ALL.iter().copied().filter(|condition| conditions.contain(*condition)).collect()
    }
}

impl Retries {
    pub(super) fn sample() -> Option<Self> {
        let on = RetryConditions(bit(RetryOn::Connect) | bit(RetryOn::ServiceUnavailable));
        Some(Self { attempts: Attempts(3), on })
    }
}

only_objects!(Retries);

impl Describe for Retries {
    fn describe(&self) -> String {
        let on: Vec<&str> = Vec::from(self.on).into_iter().map(Words::as_str).collect();
        format!("up to {} attempts, on {}", self.attempts.0, on.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<Retries, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn conditions_are_words_or_statuses() {
        for (value, described) in [
            (json!({ "attempts": 1 }), "up to 1 attempts, on connect"),
            (json!({ "attempts": 10, "on": [503, "connect", "503"] }), "up to 10 attempts, on connect, 503"),
            (
                json!({ "attempts": 2, "on": ["504", "timeout", "502", "closed"] }),
                "up to 2 attempts, on closed, timeout, 502, 504",
            ),
        ] {
            let retries = read(value).unwrap();
            assert_eq!(retries.describe(), described);
            assert_eq!(read(serde_json::to_value(&retries).unwrap()), Ok(retries));
        }
    }

    #[test]
    fn invalid_retries_are_refused() {
        for (value, word) in [
            (json!({ "attempts": 0 }), "from 1 to 10"),
            (json!({ "attempts": 11 }), "from 1 to 10"),
            (json!({ "attempts": 300 }), "from 1 to 10"),
            (json!({ "attempts": -1 }), "-1"),
            (json!({}), "attempts"),
            (json!({ "attempts": 2, "on": [] }), "empty"),
            (json!({ "attempts": 2, "on": [500] }), "`500` is not one of"),
            (json!({ "attempts": 2, "on": ["refused"] }), "`refused` is not one of"),
            (json!({ "attempts": 2, "max": 3 }), "`max`"),
            (json!([2]), "map"),
        ] {
            let error = read(value.clone()).unwrap_err();
            assert!(error.contains(word), "{value}: {error}");
        }
    }
}
