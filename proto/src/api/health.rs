//! How a route's backends are looked after, as the API, the store and the feed file write it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::model::{HealthCheck, InvalidHealthCheck, Probe};

/// Active checks of a route's backends by every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthSpec {
    /// The path of an HTTP GET, answered with 2xx or 3xx when all is well; without it a TCP connection is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Seconds between two checks, from 1 to 3600.
    #[serde(default = "interval")]
    pub interval: u64,
    /// How many good checks in a row bring a backend back, from 1 to 10.
    #[serde(default = "rise")]
    pub rise: u32,
    /// How many bad checks in a row take it out, from 1 to 10.
    #[serde(default = "fall")]
    pub fall: u32,
}

const fn interval() -> u64 {
    HealthCheck::INTERVAL.as_secs()
}

const fn rise() -> u32 {
    HealthCheck::RISE
}

const fn fall() -> u32 {
    HealthCheck::FALL
}

impl Default for HealthSpec {
    fn default() -> Self {
        Self { path: None, interval: interval(), rise: rise(), fall: fall() }
    }
}

impl TryFrom<&HealthSpec> for HealthCheck {
    type Error = InvalidHealthCheck;

    fn try_from(spec: &HealthSpec) -> Result<Self, InvalidHealthCheck> {
        Self::new(spec.path.as_deref(), Duration::from_secs(spec.interval), spec.rise, spec.fall)
    }
}

impl From<&HealthCheck> for HealthSpec {
    fn from(check: &HealthCheck) -> Self {
        let path = match check.probe() {
            Probe::Tcp => None,
            Probe::Http(path) => Some(path.clone()),
        };
        Self { path, interval: check.interval().as_secs(), rise: check.rise(), fall: check.fall() }
    }
}

/// Reads checks from an object: serde takes a list for a struct, too.
pub(super) fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<HealthSpec>, D::Error> {
    let fields: Option<Map<String, Value>> = Option::deserialize(deserializer)?;
    let spec = fields.map(|fields| HealthSpec::deserialize(Value::Object(fields)));
    spec.transpose().map_err(D::Error::custom)
}

/// The same where checks may be left out, or be `null`, which is something else.
pub(super) fn given_object<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<HealthSpec>>, D::Error> {
    object(deserializer).map(Some)
}

/// Reads a field that may be left out, or be `null`, which is something else.
pub(super) fn given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::RouteUpdate;

    #[test]
    fn what_is_left_out_has_its_default() {
        let spec: HealthSpec = serde_json::from_str(r#"{"path":"/up"}"#).unwrap();
        let check = HealthCheck::try_from(&spec).unwrap();
        assert_eq!((check.interval().as_secs(), check.rise(), check.fall()), (10, 2, 3));
        assert_eq!(HealthSpec::from(&check), spec);
        assert_eq!(serde_json::from_str::<HealthSpec>("{}").unwrap(), HealthSpec::default());
        assert!(serde_json::from_str::<HealthSpec>(r#"{"intervall":1}"#).is_err());
        let never = HealthSpec { interval: u64::MAX, ..HealthSpec::default() };
        assert_eq!(HealthCheck::try_from(&never), Err(InvalidHealthCheck::Interval));
    }

    #[test]
    fn null_is_not_the_same_as_nothing() {
        let update = |text: &str| serde_json::from_str::<RouteUpdate>(text).unwrap();
        assert_eq!(update(r#"{"id":"x"}"#).health, None);
        assert_eq!(update(r#"{"id":"x","health":null}"#).health, Some(None));
        assert_eq!(update(r#"{"id":"x","health":{}}"#).health, Some(Some(HealthSpec::default())));
        assert!(serde_json::from_str::<RouteUpdate>(r#"{"id":"x","health":["/up"]}"#).is_err());
        for text in [r#"{"id":"x"}"#, r#"{"id":"x","health":null}"#] {
            assert_eq!(serde_json::to_string(&update(text)).unwrap(), text);
        }
    }
}
