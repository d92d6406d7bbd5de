//! Changes of header fields in requests to backends and in responses to clients.

mod changes;
mod spec;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

pub use self::changes::{
    HeaderChanges, HeaderField, InvalidHeaderError, MAX_HEADER_BYTES, MAX_HEADER_CHANGES,
};
use self::spec::{ChangesSpec, HeadersSpec};
use super::object::object;
use crate::model::words::Describe;

/// The changes of header fields in both directions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(into = "HeadersSpec")]
#[schemars(with = "HeadersSpec")]
pub struct HeaderRules {
    request: HeaderChanges,
    response: HeaderChanges,
}

impl HeaderRules {
    /// Makes rules of the changes in both directions.
    #[must_use]
    pub const fn new(request: HeaderChanges, response: HeaderChanges) -> Self {
        Self { request, response }
    }

    /// Returns whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty()
    }

    /// Returns the changes of requests to backends.
    #[must_use]
    pub const fn request(&self) -> &HeaderChanges {
        &self.request
    }

    /// Returns the changes of responses to clients.
    #[must_use]
    pub const fn response(&self) -> &HeaderChanges {
        &self.response
    }

    pub(super) fn sample() -> Self {
        let request = HeaderChanges::parse(&["accept-encoding"], &[("x-tier", "gold")], &[]);
        let frame = [("x-frame-options", "DENY")];
        let response = HeaderChanges::parse(&["server"], &frame, &[("link", "</style.css>; rel=preload")]);
        Self { request: request.unwrap_or_default(), response: response.unwrap_or_default() }
    }
}

impl From<HeaderRules> for HeadersSpec {
    fn from(HeaderRules { request, response }: HeaderRules) -> Self {
        Self { request: request.into(), response: response.into() }
    }
}

impl<'de> Deserialize<'de> for HeaderRules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let HeadersSpec { request, response } = object(deserializer)?;
        let parse = |direction: &str, spec: ChangesSpec| {
            HeaderChanges::try_from(spec).map_err(|error| D::Error::custom(format!("{direction}: {error}")))
        };
        Ok(Self::new(parse("request", request)?, parse("response", response)?))
    }
}

impl Describe for HeaderRules {
    fn describe(&self) -> String {
        let directions = [("request", &self.request), ("response", &self.response)];
        let changed = directions.into_iter().filter(|(_, changes)| !changes.is_empty());
        let texts: Vec<String> =
            changed.map(|(direction, changes)| format!("{direction}: {}", changes.describe())).collect();
        if texts.is_empty() { "none".to_owned() } else { texts.join("; ") }
    }
}

#[cfg(test)]
mod tests;
