//! Options whose JSON form is an object and nothing else.

/// Implements serde's traits for types that derive them with `#[serde(remote = "Self")]`. A struct could also be
/// deserialized from a JSON array; these cannot.
macro_rules! only_objects {
    ($($type:ty),+) => {$(
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let fields = serde_json::Map::<String, serde_json::Value>::deserialize(deserializer)?;
                // The derived function, which is not of the trait.
                <$type>::deserialize(serde_json::Value::Object(fields)).map_err(serde::de::Error::custom)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <$type>::serialize(self, serializer)
            }
        }
    )+};
}

pub(super) use only_objects;
