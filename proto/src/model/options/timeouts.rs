//! The time limits of a route's requests and connections.

use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

use super::objects::only_objects;
use crate::model::words::Describe;

/// The maximum of every timeout.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// The minimum of every timeout.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(10);

/// The time limits of a route; each that is absent is the node's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Timeouts {
    /// The time to connect to a backend, for each attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Timeout>,
    /// The time from the end of the request to the head of its response, for each attempt. For terminated routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Timeout>,
    /// The time without a byte of a response's body; for WebSockets and passthrough, without a byte in either direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Timeout>,
    /// The time from the head of a request to the end of its response, all attempts included; for a WebSocket, to the
    /// end of its handshake. For terminated routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Timeout>,
}

/// A time from 10 ms to 24 h, in milliseconds; in JSON a number of seconds, which may have a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(try_from = "f64")]
#[schemars(with = "f64")]
pub struct Timeout(NonZeroU32);

/// A time that is not a valid [`Timeout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a timeout must be from 0.01 s to 24 h")]
pub struct InvalidTimeoutError;

impl Timeout {
    /// Returns the time.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0.get() as u64)
    }
}

impl TryFrom<Duration> for Timeout {
    type Error = InvalidTimeoutError;

    fn try_from(time: Duration) -> Result<Self, InvalidTimeoutError> {
        if !(MIN_TIMEOUT..=MAX_TIMEOUT).contains(&time) {
            return Err(InvalidTimeoutError);
        }
        let millis = u32::try_from(time.as_millis()).ok().and_then(NonZeroU32::new);
        millis.map(Self).ok_or(InvalidTimeoutError)
    }
}

impl TryFrom<f64> for Timeout {
    type Error = InvalidTimeoutError;

    fn try_from(seconds: f64) -> Result<Self, InvalidTimeoutError> {
        Duration::try_from_secs_f64(seconds).map_err(|_| InvalidTimeoutError)?.try_into()
    }
}

impl Serialize for Timeout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = self.0.get();
        if millis.is_multiple_of(1000) {
            serializer.serialize_u32(millis / 1000)
        } else {
            serializer.serialize_f64(f64::from(millis) / 1000.0)
        }
    }
}

impl Timeouts {
    /// Returns whether every timeout is the node's own.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the timeouts with their names as options.
    pub fn named(&mut self) -> [(&'static str, &mut Option<Timeout>); 4] {
        [
            ("timeouts.connect", &mut self.connect),
            ("timeouts.first_byte", &mut self.first_byte),
            ("timeouts.idle", &mut self.idle),
            ("timeouts.total", &mut self.total),
        ]
    }

    pub(super) fn sample() -> Self {
        let millis = |millis| NonZeroU32::new(millis).map(Timeout);
        Self { connect: millis(2500), first_byte: millis(30_000), idle: None, total: millis(60_000) }
    }

    /// Returns the name of the first timeout that concerns HTTP.
    pub(super) fn http_only(mut self) -> Option<&'static str> {
        let [_, first_byte, _, total] = self.named();
        [first_byte, total].into_iter().find(|(_, timeout)| timeout.is_some()).map(|(name, _)| name)
    }
}

only_objects!(Timeouts);

impl Describe for Timeouts {
    fn describe(&self) -> String {
        let mut copy = *self;
        let given = copy.named().into_iter().filter_map(|(name, timeout)| {
            let word = name.strip_prefix("timeouts.").unwrap_or(name).replace('_', " ");
            timeout.map(|timeout| format!("{word} {} s", timeout.duration().as_secs_f64()))
        });
        let all: Vec<String> = given.collect();
        if all.is_empty() { "those of the node".to_owned() } else { all.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<Timeouts, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn timeouts_are_numbers_of_seconds() {
        for (value, described) in [
            (json!({}), "those of the node"),
            (json!({ "connect": 0.01 }), "connect 0.01 s"),
            (json!({ "first_byte": 86400 }), "first byte 86400 s"),
            (json!({ "idle": 0.29, "total": 7 }), "idle 0.29 s, total 7 s"),
        ] {
            let timeouts = read(value.clone()).unwrap();
            assert_eq!(timeouts.describe(), described);
            assert_eq!(serde_json::to_value(timeouts).unwrap(), value);
        }
    }

    #[test]
    fn a_timeout_out_of_bounds_is_refused() {
        for value in [json!(0), json!(0.009), json!(-1), json!(86_400.5), json!(1e300), json!(u64::MAX)] {
            let error = read(json!({ "total": value })).unwrap_err();
            assert!(error.contains("0.01 s to 24 h"), "{value}: {error}");
        }
        for value in [json!({ "total": "5s" }), json!({ "write": 1 }), json!({ "idle": {} }), json!([1])] {
            assert!(read(value.clone()).is_err(), "{value}");
        }
    }
}
