//! The maintenance mode of a route.

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::Networks;
use super::object::object;
use crate::model::words::Describe;

/// The maximum length of the text, in characters.
pub const MAX_MAINTENANCE_TEXT: usize = 1000;
/// The maximum of `retry_after`, in seconds: one week.
const MAX_RETRY_AFTER: u32 = 7 * 24 * 60 * 60;
/// The default of `retry_after`, in seconds.
const RETRY_AFTER: u32 = 300;

/// The maintenance mode of a route: clients get 503, except for those in some networks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(into = "MaintenanceSpec")]
#[schemars(with = "MaintenanceSpec")]
pub struct Maintenance {
    text: Option<Box<str>>,
    retry_after: u32,
    except: Networks,
}

/// An invalid maintenance mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidMaintenanceError {
    /// The text is empty, too long, or has control characters.
    #[error(
        "`text` of the maintenance mode must have 1 to {MAX_MAINTENANCE_TEXT} characters, and no control characters \
         except line breaks"
    )]
    Text,
    /// The time is out of range.
    #[error("`retry_after` of the maintenance mode must be from 1 to {MAX_RETRY_AFTER} seconds (one week)")]
    RetryAfter,
}

/// The JSON form of a [`Maintenance`].
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MaintenanceSpec {
    /// The text of the response, at most 1000 characters; if absent, a general one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<Box<str>>,
    /// The time after which clients should try again, in seconds from 1 to 604800.
    #[serde(default = "retry_after")]
    retry_after: u32,
    /// The networks of clients that may use the route nevertheless.
    #[serde(default, skip_serializing_if = "Networks::is_empty")]
    except: Networks,
}

const fn retry_after() -> u32 {
    RETRY_AFTER
}

impl Maintenance {
    /// Makes a maintenance mode. `retry_after` is in seconds and defaults to five minutes.
    pub fn new(
        text: Option<&str>,
        retry_after: Option<u32>,
        except: Networks,
    ) -> Result<Self, InvalidMaintenanceError> {
        let fits = |text: &str| {
            !text.trim().is_empty()
                && text.chars().count() <= MAX_MAINTENANCE_TEXT
                && !text.chars().any(|c| c.is_control() && c != '\n')
        };
        if text.is_some_and(|text| !fits(text)) {
            return Err(InvalidMaintenanceError::Text);
        }
        let retry_after = retry_after.unwrap_or(RETRY_AFTER);
        if !(1..=MAX_RETRY_AFTER).contains(&retry_after) {
            return Err(InvalidMaintenanceError::RetryAfter);
        }
        Ok(Self { text: text.map(Into::into), retry_after, except })
    }

    /// Returns the owner's text of the response, if there is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Returns the time after which clients should try again, in seconds.
    #[must_use]
    pub const fn retry_after(&self) -> u32 {
        self.retry_after
    }

    /// Returns the networks of clients that may use the route nevertheless.
    #[must_use]
    pub const fn except(&self) -> &Networks {
        &self.except
    }
}

impl From<Maintenance> for MaintenanceSpec {
    fn from(Maintenance { text, retry_after, except }: Maintenance) -> Self {
        Self { text, retry_after, except }
    }
}

impl<'de> Deserialize<'de> for Maintenance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let MaintenanceSpec { text, retry_after, except } = object(deserializer)?;
        Self::new(text.as_deref(), Some(retry_after), except).map_err(D::Error::custom)
    }
}

impl Describe for Maintenance {
    fn describe(&self) -> String {
        let except = match self.except.is_empty() {
            true => String::new(),
            false => format!(", except for {}", self.except.describe()),
        };
        format!("on, retry after {} s{except}", self.retry_after)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_part_has_its_bounds() {
        let long = "x".repeat(MAX_MAINTENANCE_TEXT + 1);
        for (spec, word) in [
            (json!({"text": ""}), "`text`"),
            (json!({"text": " \n"}), "`text`"),
            (json!({"text": "a\rb"}), "`text`"),
            (json!({"text": "\u{1b}[31m"}), "`text`"),
            (json!({"text": long}), "`text`"),
            (json!({"retry_after": 0}), "`retry_after`"),
            (json!({"retry_after": 604_801}), "`retry_after`"),
            (json!({"retry_after": "5m"}), "invalid type"),
            (json!({"except": ["office"]}), "`office`"),
            (json!({"expect": []}), "unknown field"),
            (json!(["text"]), "sequence"),
            (json!(true), "boolean"),
        ] {
            let error = serde_json::from_value::<Maintenance>(spec.clone()).unwrap_err().to_string();
            assert!(error.contains(word), "{spec}: {error}");
        }
        let text = "Grüße <b>\nzurück um 9".to_owned();
        for (spec, canonical) in [
            (json!({}), json!({"retry_after": 300})),
            (json!({"text": text}), json!({"text": text, "retry_after": 300})),
            (
                json!({"retry_after": 60, "except": ["::1"]}),
                json!({"retry_after": 60, "except": ["::1/128"]}),
            ),
        ] {
            let read: Maintenance = serde_json::from_value(spec).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), canonical);
        }
    }
}
