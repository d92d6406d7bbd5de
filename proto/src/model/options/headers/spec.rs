//! The JSON form of changes of header fields.

use std::collections::BTreeMap;

use http::HeaderName;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::{HeaderChanges, HeaderField, HeaderRules, InvalidHeaderError};
use crate::model::options::object::object;

/// The JSON form of [`HeaderRules`].
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HeadersSpec {
    /// The changes of requests to backends.
    #[serde(default, deserialize_with = "object", skip_serializing_if = "ChangesSpec::is_empty")]
    request: ChangesSpec,
    /// The changes of responses to clients.
    #[serde(default, deserialize_with = "object", skip_serializing_if = "ChangesSpec::is_empty")]
    response: ChangesSpec,
}

/// The JSON form of [`HeaderChanges`].
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChangesSpec {
    /// The names of fields to remove.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    remove: Vec<String>,
    /// Fields that replace all fields of the same name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    set: BTreeMap<String, String>,
    /// Fields that are added to those of the same name: for each name, a value or a list of values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    add: BTreeMap<String, Values>,
}

/// One value, or several of one name.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a value must be a string, or a list of strings")]
enum Values {
    One(String),
    Several(Vec<String>),
}

impl Values {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Several(values) => values,
        }
    }
}

impl ChangesSpec {
    fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

impl TryFrom<ChangesSpec> for HeaderChanges {
    type Error = InvalidHeaderError;

    fn try_from(spec: ChangesSpec) -> Result<Self, InvalidHeaderError> {
        let remove: Vec<&str> = spec.remove.iter().map(String::as_str).collect();
        let set: Vec<(&str, &str)> =
            spec.set.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut add: Vec<(&str, &str)> = Vec::new();
        for (name, values) in &spec.add {
            add.extend(values.as_slice().iter().map(|value| (name.as_str(), value.as_str())));
        }
        Self::parse(&remove, &set, &add)
    }
}

impl From<HeaderChanges> for ChangesSpec {
    fn from(HeaderChanges { remove, set, add }: HeaderChanges) -> Self {
        let name = |name: &HeaderName| name.as_str().to_owned();
        // A value is always ASCII.
        let text = |(_, value): &HeaderField| value.to_str().unwrap_or_default().to_owned();
        let mut added: BTreeMap<String, Values> = BTreeMap::new();
        for field in &add {
            let values = match added.remove(field.0.as_str()) {
                None => Values::One(text(field)),
                Some(Values::One(first)) => Values::Several(vec![first, text(field)]),
                Some(Values::Several(mut values)) => {
                    values.push(text(field));
                    Values::Several(values)
                }
            };
            added.insert(name(&field.0), values);
        }
        let set = set.iter().map(|field| (name(&field.0), text(field))).collect();
        Self { remove: remove.iter().map(name).collect(), set, add: added }
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
