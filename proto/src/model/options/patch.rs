//! The change of one route option.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The change of one route option; in JSON an absent field, `null` or the new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Patch<T> {
    /// The option remains unchanged.
    #[default]
    Keep,
    /// The option is reset to its default.
    Reset,
    /// The option is set to this value.
    Set(T),
}

impl<T> Patch<T> {
    /// Returns whether the option remains unchanged.
    #[must_use]
    pub const fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// Returns the value after the change.
    #[must_use]
    pub fn apply(self, current: &T, default: T) -> T
    where
        T: Clone,
    {
        match self {
            Self::Keep => current.clone(),
            Self::Reset => default,
            Self::Set(value) => value,
        }
    }

    /// Returns the change that leads from `current` to `target`.
    #[must_use]
    pub fn between(current: &T, target: &T, default: &T) -> Self
    where
        T: Clone + PartialEq,
    {
        if current == target {
            Self::Keep
        } else if target == default {
            Self::Reset
        } else {
            Self::Set(target.clone())
        }
    }
}

impl<T> From<Option<T>> for Patch<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Keep, Self::Set)
    }
}

impl<T: Serialize> Serialize for Patch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep | Self::Reset => serializer.serialize_none(),
            Self::Set(value) => value.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Reset, Self::Set))
    }
}

impl<T: JsonSchema> JsonSchema for Patch<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Option::<T>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }
}
