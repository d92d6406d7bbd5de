//! The weights of a route's backends.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::model::words::Describe;
use crate::model::{Backend, MAX_BACKENDS};

/// The maximum weight of a backend.
pub const MAX_WEIGHT: u16 = 256;

/// The weights of backends, from 0 to [`MAX_WEIGHT`]; 1 for each backend that is not in the map.
///
/// A backend of weight 0 is drained: it gets no new clients, even if all others are unhealthy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, JsonSchema)]
#[serde(into = "BTreeMap<Backend, u16>")]
#[schemars(with = "BTreeMap<String, u16>")]
pub struct Weights(Box<[(Backend, u16)]>);

/// A map that is not valid [`Weights`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidWeightsError {
    /// A weight is too large.
    #[error("the weight {1} of {0} is not a number from 0 to {MAX_WEIGHT}")]
    Large(Backend, u64),
    /// A backend has two weights.
    #[error("{0} has more than one weight")]
    Duplicate(Backend),
    /// There are more weights than a route can have backends.
    #[error("more than {MAX_BACKENDS} weights are given")]
    TooMany,
}

impl Weights {
    /// Makes a map of weights.
    pub fn new(weights: impl IntoIterator<Item = (Backend, u64)>) -> Result<Self, InvalidWeightsError> {
        let mut all: Vec<(Backend, u16)> = Vec::new();
        for (backend, weight) in weights {
            let fitting = u16::try_from(weight).ok().filter(|weight| *weight <= MAX_WEIGHT);
            let fitting = fitting.ok_or(InvalidWeightsError::Large(backend, weight))?;
            match all.binary_search_by_key(&backend, |(other, _)| *other) {
                Ok(_) => return Err(InvalidWeightsError::Duplicate(backend)),
                Err(_) if all.len() == MAX_BACKENDS => return Err(InvalidWeightsError::TooMany),
                Err(at) => all.insert(at, (backend, fitting)),
            }
        }
        Ok(Self(all.into()))
    }

    pub(super) fn sample(weights: &[(&str, u64)]) -> Self {
        let parsed = weights.iter().filter_map(|(text, weight)| Some((text.parse().ok()?, *weight)));
        Self::new(parsed).unwrap_or_default()
    }

    /// Returns whether every backend has the weight 1.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the weight of a backend.
    #[must_use]
    pub fn of(&self, backend: Backend) -> u16 {
        let found = self.0.binary_search_by_key(&backend, |(other, _)| *other);
        found.ok().and_then(|at| self.0.get(at)).map_or(1, |(_, weight)| *weight)
    }

    /// Returns the first backend of the map that is not in `backends`.
    #[must_use]
    pub fn first_outside(&self, backends: &[Backend]) -> Option<Backend> {
        self.0.iter().map(|(backend, _)| *backend).find(|backend| !backends.contains(backend))
    }

    /// Returns the weights of those backends that are in `backends`.
    #[must_use]
    pub fn within(&self, backends: &[Backend]) -> Self {
        Self(self.0.iter().filter(|(backend, _)| backends.contains(backend)).copied().collect())
    }
}

impl From<Weights> for BTreeMap<Backend, u16> {
    fn from(weights: Weights) -> Self {
        weights.0.iter().copied().collect()
    }
}

impl<'de> Deserialize<'de> for Weights {
    /// Reads a map. A `BTreeMap` would hide that a backend is given twice, in two spellings.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Weights;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from backends to weights")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Weights, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    if entries.len() == MAX_BACKENDS {
                        return Err(A::Error::custom(InvalidWeightsError::TooMany));
                    }
                    entries.push(entry);
                }
                Weights::new(entries).map_err(A::Error::custom)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

impl Describe for Weights {
    fn describe(&self) -> String {
        if self.is_empty() {
            return "equal".to_owned();
        }
        let all: Vec<String> = self.0.iter().map(|(backend, weight)| format!("{backend}={weight}")).collect();
        all.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<Weights, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn weights_are_read_and_written_as_a_map() {
        let given = json!({ "[400::2]:80": 0, "[400::1]:80": 256 });
        let weights = read(given.clone()).unwrap();
        let of = |text: &str| weights.of(text.parse().unwrap());
        assert_eq!((of("[400::1]:80"), of("[400::2]:80"), of("[400::3]:80")), (256, 0, 1));
        assert_eq!(serde_json::to_value(&weights).unwrap(), given);
        assert_eq!(weights.describe(), "[400::1]:80=256, [400::2]:80=0");
        assert!(read(json!({})).unwrap().is_empty());
    }

    #[test]
    fn invalid_weights_are_refused_by_name() {
        let many: serde_json::Map<String, Value> =
            (0..=MAX_BACKENDS).map(|i| (format!("[400::{i:x}]:80"), json!(2))).collect();
        for (value, word) in [
            (json!({ "[400::1]:80": 257 }), "[400::1]:80"),
            (json!({ "[400::1]:80": 70_000 }), "70000"),
            (json!({ "[400::1]:80": -1 }), "-1"),
            (json!({ "[400::1]:80": 1.5 }), "1.5"),
            (json!({ "[400::1]:80": "2" }), "string"),
            (json!({ "[400::1]:80": null }), "null"),
            (json!({ "[400::1]": 2 }), "no port"),
            (json!({ "example.org:80": 2 }), "example.org"),
            (json!({ "[400::1]:80": 2, "[400:0::1]:80": 3 }), "more than one"),
            (json!([["[400::1]:80", 2]]), "map"),
            (json!(3), "map"),
            (many.into(), "more than 32"),
        ] {
            let error = read(value.clone()).unwrap_err();
            assert!(error.contains(word), "{value}: {error}");
        }
    }

    #[test]
    fn weights_of_removed_backends_are_found_and_dropped() {
        let weights = Weights::sample(&[("[400::1]:80", 3), ("[400::2]:80", 0)]);
        let [one, two] = ["[400::1]:80", "[400::2]:80"].map(|text| text.parse::<Backend>().unwrap());
        assert_eq!(weights.first_outside(&[one, two]), None);
        assert_eq!(weights.first_outside(&[one]), Some(two));
        assert_eq!(weights.within(&[one]), Weights::sample(&[("[400::1]:80", 3)]));
    }
}
