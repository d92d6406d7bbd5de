//! Limits on the requests and connections of each client network.

use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::object::object;
use crate::model::words::Describe;

/// The maximum of [`RequestRate`], in thousandths of a request per second.
const MAX_MILLI: u32 = 1_000_000_000;
/// The maximum burst, in requests.
const MAX_BURST: u32 = 100_000;
/// The maximum number of concurrent connections or requests.
const MAX_CONNECTIONS: u32 = 1_000_000;

/// Limits for each client network, which is an IPv4 /24 or an IPv6 /56. At least one of the two is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(into = "RateLimitSpec")]
#[schemars(with = "RateLimitSpec")]
pub struct RateLimit {
    requests: Option<RequestRate>,
    connections: Option<NonZeroU32>,
}

/// A rate of requests, with a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestRate {
    milli: NonZeroU32,
    burst: NonZeroU32,
}

/// An invalid rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidRateLimitError {
    /// Neither a rate nor a number of connections is given.
    #[error("a rate limit needs `requests` or `connections`")]
    Empty,
    /// The rate is out of range.
    #[error("`requests` of a rate limit must be from 0.001 to 1000000 per second")]
    Requests,
    /// The burst is out of range.
    #[error("`burst` of a rate limit must be from 1 to 100000")]
    Burst,
    /// A burst is given without a rate.
    #[error("`burst` of a rate limit needs `requests`")]
    BurstAlone,
    /// The number of connections is out of range.
    #[error("`connections` of a rate limit must be from 1 to 1000000")]
    Connections,
}

/// The JSON form of a [`RateLimit`].
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RateLimitSpec {
    /// The requests per second, from 0.001 to 1000000. Only a terminated route can have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    requests: Option<serde_json::Number>,
    /// The number of requests that may come at once, from 1 to 100000; if absent, the requests of one second, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    burst: Option<u32>,
    /// The number of concurrent requests, or connections of a passthrough route, from 1 to 1000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connections: Option<u32>,
}

impl RateLimit {
    /// Makes a rate limit of `requests` per second with this burst, and of `connections` at once.
    pub fn new(
        requests: Option<f64>,
        burst: Option<u32>,
        connections: Option<u32>,
    ) -> Result<Self, InvalidRateLimitError> {
        let requests = match (requests, burst) {
            (Some(requests), burst) => Some(RequestRate::new(requests, burst)?),
            (None, Some(_)) => return Err(InvalidRateLimitError::BurstAlone),
            (None, None) => None,
        };
        let is_valid = |count: &NonZeroU32| count.get() <= MAX_CONNECTIONS;
        let connections = connections
            .map(|count| NonZeroU32::new(count).filter(is_valid).ok_or(InvalidRateLimitError::Connections));
        let connections = connections.transpose()?;
        if requests.is_none() && connections.is_none() {
            return Err(InvalidRateLimitError::Empty);
        }
        Ok(Self { requests, connections })
    }

    /// Returns the rate of requests, if it is limited.
    #[must_use]
    pub const fn requests(&self) -> Option<&RequestRate> {
        self.requests.as_ref()
    }

    /// Returns the maximum number of concurrent requests, or of connections of a passthrough route.
    #[must_use]
    pub const fn connections(&self) -> Option<NonZeroU32> {
        self.connections
    }
}

impl RequestRate {
    /// Makes a rate of `requests` per second. Without a burst, the requests of one second may come at once.
    pub fn new(requests: f64, burst: Option<u32>) -> Result<Self, InvalidRateLimitError> {
        let milli = (requests * 1000.0).round();
        if !(1.0..=f64::from(MAX_MILLI)).contains(&milli) {
            return Err(InvalidRateLimitError::Requests);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is in the range above"
        )]
        let milli = NonZeroU32::new(milli as u32).ok_or(InvalidRateLimitError::Requests)?;
        let burst = burst.unwrap_or_else(|| milli.get().div_ceil(1000).min(MAX_BURST));
        let burst = NonZeroU32::new(burst).filter(|burst| burst.get() <= MAX_BURST);
        Ok(Self { milli, burst: burst.ok_or(InvalidRateLimitError::Burst)? })
    }

    /// Returns the time in which one more request is allowed.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_secs(1000) / self.milli.get()
    }

    /// Returns the number of requests that may come at once.
    #[must_use]
    pub const fn burst(&self) -> NonZeroU32 {
        self.burst
    }

    /// Returns the requests per second as a JSON number, which has a fraction only if needed.
    fn per_second(&self) -> serde_json::Number {
        let milli = self.milli.get();
        let fraction = || serde_json::Number::from_f64(f64::from(milli) / 1000.0);
        if milli.is_multiple_of(1000) {
            (milli / 1000).into()
        } else {
            fraction().unwrap_or_else(|| 0.into())
        }
    }
}

impl From<RateLimit> for RateLimitSpec {
    fn from(limit: RateLimit) -> Self {
        Self {
            requests: limit.requests.map(|rate| rate.per_second()),
            burst: limit.requests.map(|rate| rate.burst.get()),
            connections: limit.connections.map(NonZeroU32::get),
        }
    }
}

impl<'de> Deserialize<'de> for RateLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let RateLimitSpec { requests, burst, connections } = object(deserializer)?;
        let requests = requests.map(|number| number.as_f64().unwrap_or(f64::NAN));
        Self::new(requests, burst, connections).map_err(D::Error::custom)
    }
}

impl Describe for RateLimit {
    fn describe(&self) -> String {
        let requests =
            self.requests.map(|rate| format!("{} requests/s, burst {}", rate.per_second(), rate.burst));
        let connections = self.connections.map(|count| format!("{count} at once"));
        let parts: Vec<String> = requests.into_iter().chain(connections).collect();
        format!("{} per client network", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn each_part_has_its_bounds() {
        use InvalidRateLimitError as Error;
        for (spec, expected) in [
            (json!({}), Err(Error::Empty)),
            (json!({"burst": 1}), Err(Error::BurstAlone)),
            (json!({"burst": 1, "connections": 1}), Err(Error::BurstAlone)),
            (json!({"requests": 0}), Err(Error::Requests)),
            (json!({"requests": -1}), Err(Error::Requests)),
            (json!({"requests": 0.0001}), Err(Error::Requests)),
            (json!({"requests": 1_000_001}), Err(Error::Requests)),
            (json!({"requests": 1e300}), Err(Error::Requests)),
            (json!({"requests": 1, "burst": 0}), Err(Error::Burst)),
            (json!({"requests": 1, "burst": 100_001}), Err(Error::Burst)),
            (json!({"connections": 0}), Err(Error::Connections)),
            (json!({"connections": 1_000_001}), Err(Error::Connections)),
            (json!({"requests": 0.001}), Ok(json!({"requests": 0.001, "burst": 1}))),
            (json!({"requests": 2.5}), Ok(json!({"requests": 2.5, "burst": 3}))),
            (json!({"requests": 10}), Ok(json!({"requests": 10, "burst": 10}))),
            (json!({"requests": 1_000_000}), Ok(json!({"requests": 1_000_000, "burst": 100_000}))),
            (
                json!({"requests": 3.0, "burst": 7, "connections": 2}),
                Ok(json!({"requests": 3, "burst": 7, "connections": 2})),
            ),
        ] {
            let read = serde_json::from_value::<RateLimit>(spec.clone());
            match (read, expected) {
                (Ok(limit), Ok(canonical)) => {
                    assert_eq!(serde_json::to_value(limit).unwrap(), canonical);
                    assert_eq!(serde_json::from_value::<RateLimit>(canonical).unwrap(), limit, "{spec}");
                }
                (Err(error), Err(expected)) => assert_eq!(error.to_string(), expected.to_string(), "{spec}"),
                (read, expected) => panic!("{spec}: {read:?} instead of {expected:?}"),
            }
        }
        for wrong in [json!([1]), json!({"request": 1}), json!({"requests": "10"}), json!(10)] {
            assert!(serde_json::from_value::<RateLimit>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_limit_is_described() {
        let describe = |spec: Value| serde_json::from_value::<RateLimit>(spec).unwrap().describe();
        assert_eq!(describe(json!({"requests": 0.5})), "0.5 requests/s, burst 1 per client network");
        assert_eq!(
            describe(json!({"requests": 10, "burst": 20, "connections": 5})),
            "10 requests/s, burst 20, 5 at once per client network"
        );
        assert_eq!(describe(json!({"connections": 5})), "5 at once per client network");
    }
}
