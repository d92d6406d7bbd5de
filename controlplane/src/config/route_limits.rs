//! The `[route_limits]` section: the operator's bounds of route options.

use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;
use webgateway_proto::model::options::{
    Attempts, InvalidMaxBodyError, InvalidRetriesError, InvalidTimeoutError, MAX_TIMEOUT, MaxBody, Timeout,
};
use webgateway_proto::model::{Describe, Mode, RouteOptions};

/// The section before validation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RouteLimitSettings {
    #[serde(with = "humantime_serde")]
    max_timeout: Duration,
    max_attempts: u64,
    max_body: Option<u64>,
}

/// The operator's bounds of route options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteLimits {
    /// The maximum of each of a route's timeouts.
    pub max_timeout: Timeout,
    /// The maximum number of attempts to forward a request.
    pub max_attempts: Attempts,
    /// The maximum size of a request's body, also for routes without such an option; `None` is no limit.
    pub max_body: Option<MaxBody>,
}

/// The `[route_limits]` section is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RouteLimitsConfigError {
    /// The maximum of timeouts is out of bounds.
    #[error("`route_limits.max_timeout`: {0}")]
    Timeout(#[from] InvalidTimeoutError),
    /// The maximum number of attempts is out of bounds.
    #[error("`route_limits.max_attempts`: {0}")]
    Attempts(#[from] InvalidRetriesError),
    /// The maximum size of bodies is out of bounds.
    #[error("`route_limits.max_body`: {0}")]
    Body(#[from] InvalidMaxBodyError),
}

/// A route option that exceeds the operator's bound.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{field}` is above the operator's limit of {limit}")]
pub struct RouteLimitError {
    /// The name of the option's field.
    pub field: &'static str,
    limit: String,
}

impl RouteLimitSettings {
    pub(super) fn resolve(self) -> Result<RouteLimits, RouteLimitsConfigError> {
        Ok(RouteLimits {
            max_timeout: self.max_timeout.try_into()?,
            max_attempts: self.max_attempts.try_into()?,
            max_body: self.max_body.map(MaxBody::try_from).transpose()?,
        })
    }
}

impl Default for RouteLimitSettings {
    fn default() -> Self {
        Self { max_timeout: MAX_TIMEOUT, max_attempts: 5, max_body: None }
    }
}

impl RouteLimits {
    /// Checks that no option exceeds its bound.
    pub fn check(&self, options: &RouteOptions) -> Result<(), RouteLimitError> {
        let exceeded = |field, limit: String| Err(RouteLimitError { field, limit });
        let mut timeouts = options.timeouts;
        for (field, timeout) in timeouts.named() {
            if timeout.is_some_and(|timeout| timeout > self.max_timeout) {
                return exceeded(field, format!("{} s", self.max_timeout.duration().as_secs_f64()));
            }
        }
        if options.retries.as_ref().is_some_and(|retries| retries.attempts > self.max_attempts) {
            return exceeded("retries.attempts", self.max_attempts.get().to_string());
        }
        match (options.max_body, self.max_body) {
            (Some(body), Some(limit)) if body > limit => exceeded("max_body", limit.describe()),
            _ => Ok(()),
        }
    }

    /// Returns the options with every value reduced to its bound, as the nodes get them; `None` if nothing changes. A
    /// terminated route without a maximum of bodies gets the bound.
    #[must_use]
    pub fn clamp(&self, mode: Mode, options: &RouteOptions) -> Option<RouteOptions> {
        let lacks_body = mode == Mode::Terminate && self.max_body.is_some() && options.max_body.is_none();
        if self.check(options).is_ok() && !lacks_body {
            return None;
        }
        let mut clamped = options.clone();
        for (_, timeout) in clamped.timeouts.named() {
            *timeout = timeout.map(|timeout| timeout.min(self.max_timeout));
        }
        if let Some(retries) = &mut clamped.retries {
            retries.attempts = retries.attempts.min(self.max_attempts);
        }
        if mode == Mode::Terminate {
            clamped.max_body = clamped.max_body.into_iter().chain(self.max_body).min();
        }
        Some(clamped)
    }
}

impl Default for RouteLimits {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "constants that a test resolves")]
        RouteLimitSettings::default().resolve().expect("valid defaults")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn options(options: Value) -> RouteOptions {
        serde_json::from_value(options).unwrap()
    }

    fn limits() -> RouteLimits {
        let (max_timeout, max_attempts) = (Duration::from_secs(60), 3);
        RouteLimitSettings { max_timeout, max_attempts, max_body: Some(1024) }.resolve().unwrap()
    }

    #[test]
    fn an_exceeded_bound_is_named_and_clamped() {
        for (given, field, clamped) in [
            (json!({ "timeouts": { "connect": 61 } }), "timeouts.connect", json!({ "connect": 60 })),
            (
                json!({ "timeouts": { "first_byte": 60.5 } }),
                "timeouts.first_byte",
                json!({ "first_byte": 60 }),
            ),
            (
                json!({ "timeouts": { "idle": 86400, "total": 1 } }),
                "timeouts.idle",
                json!({ "idle": 60, "total": 1 }),
            ),
            (json!({ "timeouts": { "total": 100 } }), "timeouts.total", json!({ "total": 60 })),
            (
                json!({ "retries": { "attempts": 4 } }),
                "retries.attempts",
                json!({ "attempts": 3, "on": ["connect"] }),
            ),
            (json!({ "max_body": 1025 }), "max_body", json!(1024)),
        ] {
            let error = limits().check(&options(given.clone())).unwrap_err();
            assert_eq!(error.field, field);
            assert!(error.to_string().contains("limit of "), "{error}");
            let reduced = limits().clamp(Mode::Terminate, &options(given)).unwrap();
            let name = field.split('.').next().unwrap();
            assert_eq!(serde_json::to_value(&reduced).unwrap()[name], clamped, "{field}");
            assert_eq!(reduced.max_body.map(MaxBody::bytes), Some(1024));
            assert_eq!(limits().check(&reduced), Ok(()));
        }
    }

    #[test]
    fn options_within_the_bounds_stay_and_a_body_always_has_one() {
        let within = json!({ "timeouts": { "idle": 60 }, "retries": { "attempts": 3 }, "max_body": 1024 });
        assert_eq!(limits().clamp(Mode::Terminate, &options(within)), None);
        let bound = limits().clamp(Mode::Terminate, &RouteOptions::default()).unwrap();
        assert_eq!(bound, options(json!({ "max_body": 1024 })));
        assert_eq!(limits().clamp(Mode::Passthrough, &RouteOptions::default()), None);
        assert_eq!(RouteLimits::default().clamp(Mode::Terminate, &RouteOptions::default()), None);
    }
}
