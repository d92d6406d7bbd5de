//! The retry policy: which failed calls are retried, and after which pause.
//!
//! The crate backon would replace only the few lines of [`Backoff`]. It bounds the sum of the pauses; this module
//! bounds the time since the first attempt, and makes the last attempt exactly when that time ends.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use webgateway_proto::api::jsonrpc::code;
use webgateway_proto::api::method;

use super::error::CallError;
use super::transport::TransportError;

/// The first pause; each following one is twice as long.
const INITIAL_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause, unless the gateway asks for a longer one.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The API error kind for a call that was rejected by the rate limit and not applied.
const RATE_LIMITED: &str = "rate_limited";

/// The classification of an error for retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryClass {
    /// A retry would fail in the same way.
    Permanent,
    /// The error is transient and the call was not applied. The pause lasts at least this long.
    NotApplied(Duration),
    /// The error is transient, but the call may have been applied.
    MaybeApplied,
}

impl RetryClass {
    /// Classifies `error`.
    pub(super) fn of(error: &CallError) -> Self {
        match error {
            CallError::Encode(_) | CallError::Build(_) | CallError::Sign(_) | CallError::Decode(_) => {
                Self::Permanent
            }
            CallError::Transport(error) => Self::of_transport(error),
            CallError::Rpc(error) => match &error.data {
                Some(data) if data.kind == RATE_LIMITED => {
                    Self::NotApplied(Duration::from_secs(data.retry_after.unwrap_or(1)))
                }
                Some(_) | None if error.code == code::UNAVAILABLE => Self::MaybeApplied,
                Some(_) | None => Self::Permanent,
            },
            CallError::UnexpectedResponse(error) => match error.status {
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                    Self::MaybeApplied
                }
                StatusCode::TOO_MANY_REQUESTS => Self::NotApplied(Duration::from_secs(1)),
                _ => Self::Permanent,
            },
        }
    }

    const fn of_transport(error: &TransportError) -> Self {
        match error {
            TransportError::Connect { transient: true, .. } | TransportError::ConnectTimeout(_) => {
                Self::NotApplied(Duration::ZERO)
            }
            TransportError::ConnectionLost { .. } | TransportError::Timeout => Self::MaybeApplied,
            TransportError::Connect { transient: false, .. }
            | TransportError::TrustStore(_)
            | TransportError::Certificate { .. }
            | TransportError::Tls { .. }
            | TransportError::NotHttp(_)
            | TransportError::TooLarge(_) => Self::Permanent,
        }
    }
}

/// Returns true if a repeated call has the same effect and the same result as a single one, provided that no other
/// caller changes anything in between. Unknown methods are not idempotent.
pub(super) fn is_idempotent(method: &str, params: &Value) -> bool {
    match method {
        method::ROUTES_LIST
        | method::ROUTES_GET
        | method::ROUTES_EXPLAIN
        | method::ROUTES_STATS
        | method::ROUTES_LOGS
        | method::WHOAMI
        | method::CERTIFICATES_LIST
        | method::CERTIFICATES_GET
        | method::CERTIFICATES_ROOT
        | method::AUDIT_LIST
        | method::AUDIT_EXPORT
        | method::NODES_LIST
        | method::NODES_DRAIN
        | method::NODES_REMOVE
        | method::NODES_WAIT
        | method::ADMIN_USERS
        | method::ADMIN_QUOTA
        | method::ADMIN_SUSPEND
        | method::ADMIN_UNSUSPEND
        | method::HEALTH
        | method::VERSION
        | method::DISCOVER => true,
        // The gateway creates one route per client-chosen id.
        method::ROUTES_CREATE => params["id"].is_string(),
        // After the first update the version has changed, and the repetition would be a conflict.
        method::ROUTES_UPDATE => params["expected_version"].is_null(),
        // A second deletion finds no route, a second invitation creates another token, a second renewal another
        // certificate.
        _ => false,
    }
}

/// Exponential backoff with jitter, so that many clients do not retry at the same time.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) const fn new() -> Self {
        Self { next: INITIAL_PAUSE }
    }

    /// Returns the next pause, at least `min` long.
    pub(super) fn next(&mut self, min: Duration) -> Duration {
        let pause = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.next = (self.next * 2).min(MAX_PAUSE);
        min.max(pause)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use webgateway_proto::api::jsonrpc::ErrorObject;

    use super::*;

    fn rpc_error(code: i64, data: Value) -> CallError {
        let error = json!({ "code": code, "message": "no", "data": data });
        CallError::Rpc(Box::new(serde_json::from_value::<ErrorObject>(error).unwrap()))
    }

    #[test]
    fn errors_are_permanent_or_transient() {
        let unavailable = rpc_error(code::UNAVAILABLE, json!({ "kind": "unavailable" }));
        assert_eq!(RetryClass::of(&unavailable), RetryClass::MaybeApplied);
        let limited = rpc_error(code::UNAVAILABLE, json!({ "kind": "rate_limited", "retry_after": 7 }));
        assert_eq!(RetryClass::of(&limited), RetryClass::NotApplied(Duration::from_secs(7)));
        for code in [code::UNAUTHENTICATED, code::FORBIDDEN, code::INVALID_PARAMS, code::INTERNAL_ERROR] {
            assert_eq!(
                RetryClass::of(&rpc_error(code, json!({ "kind": "k" }))),
                RetryClass::Permanent,
                "{code}"
            );
        }
        let authority = || "gw.example".to_owned();
        for (error, class) in [
            (TransportError::Timeout, RetryClass::MaybeApplied),
            (TransportError::ConnectTimeout(authority()), RetryClass::NotApplied(Duration::ZERO)),
            (TransportError::NotHttp(authority()), RetryClass::Permanent),
        ] {
            assert_eq!(RetryClass::of(&error.into()), class);
        }
    }

    #[test]
    fn idempotence_depends_on_method_and_params() {
        for (method, params, idempotent) in [
            (method::ROUTES_LIST, json!({}), true),
            (method::ROUTES_CREATE, json!({ "id": "01999999-9999-7999-8999-999999999999" }), true),
            (method::ROUTES_CREATE, json!({}), false),
            (method::ROUTES_UPDATE, json!({ "id": "x" }), true),
            (method::ROUTES_UPDATE, json!({ "id": "x", "expected_version": 7 }), false),
            (method::ROUTES_DELETE, json!({ "id": "x" }), false),
            (method::NODES_INVITE, json!({ "node": "x" }), false),
            ("routes.paint", json!({}), false),
        ] {
            assert_eq!(is_idempotent(method, &params), idempotent, "{method} {params}");
        }
    }

    #[test]
    fn pauses_grow_and_respect_the_minimum() {
        let mut backoff = Backoff::new();
        let all: Vec<Duration> = (0..10).map(|_| backoff.next(Duration::ZERO)).collect();
        assert!(all[0] >= INITIAL_PAUSE / 2 && all[0] <= INITIAL_PAUSE, "{all:?}");
        assert!(all[9] >= MAX_PAUSE / 2 && all[9] <= MAX_PAUSE, "{all:?}");
        assert_eq!(backoff.next(Duration::from_secs(60)), Duration::from_secs(60));
    }
}
