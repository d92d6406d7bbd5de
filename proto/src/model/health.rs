//! Active checks of a route's backends.

use std::time::Duration;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use super::words::Describe;

/// Active checks of a route's backends by every node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(into = "HealthSpec")]
#[schemars(with = "HealthSpec")]
pub struct HealthCheck {
    probe: Probe,
    interval: Duration,
    rise: u32,
    fall: u32,
}

/// The probe that tests a backend.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Probe {
    /// A TCP connection, which has to succeed.
    Tcp,
    /// An HTTP GET of this path, whose response has to be 2xx or 3xx.
    Http(String),
}

/// An invalid health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidHealthCheckError {
    /// The path cannot be used in a request.
    #[error(
        "the path of a health check must begin with `/` and have at most 1024 printable ASCII characters, no space and no `#`"
    )]
    Path,
    /// The interval is too short or too long.
    #[error("the interval of a health check must be from 1 s to 1 h")]
    Interval,
    /// Rise or fall is 0 or too large.
    #[error("rise and fall of a health check must be from 1 to 10")]
    Count,
}

/// The JSON form of a [`HealthCheck`].
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HealthSpec {
    /// The path of an HTTP GET, whose response has to be 2xx or 3xx; if absent, the check is a TCP connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// The time between two checks, in seconds from 1 to 3600.
    #[serde(default = "interval")]
    interval: u64,
    /// The number of consecutive successful checks that mark a backend healthy, from 1 to 10.
    #[serde(default = "rise")]
    rise: u32,
    /// The number of consecutive failed checks that mark a backend unhealthy, from 1 to 10.
    #[serde(default = "fall")]
    fall: u32,
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

impl HealthCheck {
    /// The default interval between two checks.
    pub const INTERVAL: Duration = Duration::from_secs(10);
    /// The default of [`rise`](Self::rise).
    pub const RISE: u32 = 2;
    /// The default of [`fall`](Self::fall).
    pub const FALL: u32 = 3;

    /// Makes a health check with a GET of `path`, or with a TCP connection if there is none.
    pub fn new(
        path: Option<&str>,
        interval: Duration,
        rise: u32,
        fall: u32,
    ) -> Result<Self, InvalidHealthCheckError> {
        let fits = |path: &&str| {
            path.starts_with('/')
                && path.len() <= 1024
                && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
        };
        let probe = match path {
            Some(path) => {
                Probe::Http(Some(path).filter(fits).ok_or(InvalidHealthCheckError::Path)?.to_owned())
            }
            None => Probe::Tcp,
        };
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&interval) {
            return Err(InvalidHealthCheckError::Interval);
        }
        if !(1..=10).contains(&rise) || !(1..=10).contains(&fall) {
            return Err(InvalidHealthCheckError::Count);
        }
        Ok(Self { probe, interval, rise, fall })
    }

    /// Makes a health check with a TCP connection and the default values.
    #[must_use]
    pub const fn tcp() -> Self {
        Self { probe: Probe::Tcp, interval: Self::INTERVAL, rise: Self::RISE, fall: Self::FALL }
    }

    /// Returns whether a JSON value has the fields of a health check. Their values may still be invalid.
    #[must_use]
    pub fn is_well_formed(value: &Value) -> bool {
        value.is_object() && HealthSpec::deserialize(value).is_ok()
    }

    /// Returns the probe.
    #[must_use]
    pub const fn probe(&self) -> &Probe {
        &self.probe
    }

    /// Returns the time between two checks.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// Returns the number of consecutive successful checks that mark a backend healthy.
    #[must_use]
    pub const fn rise(&self) -> u32 {
        self.rise
    }

    /// Returns the number of consecutive failed checks that mark a backend unhealthy.
    #[must_use]
    pub const fn fall(&self) -> u32 {
        self.fall
    }
}

impl From<HealthCheck> for HealthSpec {
    fn from(check: HealthCheck) -> Self {
        let path = match check.probe {
            Probe::Tcp => None,
            Probe::Http(path) => Some(path),
        };
        Self { path, interval: check.interval.as_secs(), rise: check.rise, fall: check.fall }
    }
}

impl<'de> Deserialize<'de> for HealthCheck {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A struct could also be deserialized from a JSON array; a map cannot.
        let fields = Map::<String, Value>::deserialize(deserializer)?;
        let spec = HealthSpec::deserialize(Value::Object(fields)).map_err(D::Error::custom)?;
        Self::new(spec.path.as_deref(), Duration::from_secs(spec.interval), spec.rise, spec.fall)
            .map_err(D::Error::custom)
    }
}

impl Describe for HealthCheck {
    fn describe(&self) -> String {
        let probe = match &self.probe {
            Probe::Tcp => "tcp".to_owned(),
            Probe::Http(path) => format!("GET {path}"),
        };
        let Self { interval, rise, fall, .. } = self;
        format!("{probe} every {} s, out after {fall} bad, back after {rise} good", interval.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_health_check_is_rejected() {
        let check =
            |path, seconds, rise, fall| HealthCheck::new(path, Duration::from_secs(seconds), rise, fall);
        assert!(check(None, 10, 2, 3).is_ok() && check(Some("/healthz?deep=1"), 1, 1, 10).is_ok());
        let long = format!("/{}", "x".repeat(1024));
        for path in ["", "healthz", "/a b", "/a#b", "/\u{e9}", &long] {
            assert_eq!(check(Some(path), 10, 2, 3), Err(InvalidHealthCheckError::Path), "{path}");
        }
        assert_eq!(check(None, 0, 2, 3), Err(InvalidHealthCheckError::Interval));
        assert_eq!(check(None, 3601, 2, 3), Err(InvalidHealthCheckError::Interval));
        assert_eq!(check(None, 10, 0, 3), Err(InvalidHealthCheckError::Count));
        assert_eq!(check(None, 10, 2, 11), Err(InvalidHealthCheckError::Count));
    }

    #[test]
    fn absent_fields_have_their_defaults() {
        let check: HealthCheck = serde_json::from_str(r#"{"path":"/up"}"#).unwrap();
        assert_eq!((check.interval().as_secs(), check.rise(), check.fall()), (10, 2, 3));
        let text = serde_json::to_string(&check).unwrap();
        assert_eq!(text, r#"{"path":"/up","interval":10,"rise":2,"fall":3}"#);
        assert_eq!(serde_json::from_str::<HealthCheck>("{}").unwrap(), HealthCheck::tcp());
        for wrong in [r#"{"intervall":1}"#, r#"["/up"]"#, r#"{"interval":18446744073709551615}"#] {
            assert!(serde_json::from_str::<HealthCheck>(wrong).is_err(), "{wrong}");
        }
    }
}
