//! The JSON form of changes of header fields.

use std::collections::BTreeMap;

use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::changes::{HeaderChanges, HeaderField, InvalidHeaderError};
use crate::model::options::object::object;

/// Changes of header fields, in JSON.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HeadersSpec {
    /// The changes of requests to backends.
    #[serde(default, deserialize_with = "object", skip_serializing_if = "ChangesSpec::is_empty")]
    pub(super) request: ChangesSpec,
    /// The changes of responses to clients.
    #[serde(default, deserialize_with = "object", skip_serializing_if = "ChangesSpec::is_empty")]
    pub(super) response: ChangesSpec,
}

/// Changes of header fields in one direction, in JSON. Fields are removed first, then set, then added.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangesSpec {
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
    fn from(changes: HeaderChanges) -> Self {
        let name = |name: &HeaderName| name.as_str().to_owned();
        // A value is always ASCII.
        let text = |(_, value): &HeaderField| value.to_str().unwrap_or_default().to_owned();
        let mut added: BTreeMap<String, Values> = BTreeMap::new();
        for field in changes.add() {
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
        let set = changes.set().iter().map(|field| (name(&field.0), text(field))).collect();
        Self { remove: changes.remove().iter().map(name).collect(), set, add: added }
    }
}
