//! The decision whether and when a call that failed is made again.
//!
//! Our own: backon bounds the sum of the pauses, while here the last attempt is made when the time is over; it would
//! replace the twelve lines of [`Pauses`] alone.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use webgateway_proto::api::jsonrpc::code;
use webgateway_proto::api::method;

use super::error::CallError;
use super::transport::TransportError;

/// The first pause; each one is twice as long as the one before.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause that nobody asked for.
const LONGEST: Duration = Duration::from_secs(5);
/// The kind of the gateway's error that says nothing was done, and when to come again.
const RATE_LIMITED: &str = "rate_limited";

/// The prospect of another attempt after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlook {
    /// Another attempt would end the same way.
    Lasting,
    /// The failure may pass, and certainly nothing was done; a pause this long is asked for.
    NotDone(Duration),
    /// The failure may pass, but the call may have been done.
    InDoubt,
}

impl Outlook {
    /// Returns the prospect after a failure.
    pub(super) fn of(error: &CallError) -> Self {
        match error {
            CallError::Encode(_) | CallError::Build(_) | CallError::Sign(_) | CallError::Decode(_) => {
                Self::Lasting
            }
            CallError::Transport(error) => Self::of_transport(error),
            CallError::Refused(error) => match &error.data {
                Some(data) if data.kind == RATE_LIMITED => {
                    Self::NotDone(Duration::from_secs(data.retry_after.unwrap_or(1)))
                }
                Some(_) | None if error.code == code::UNAVAILABLE => Self::InDoubt,
                Some(_) | None => Self::Lasting,
            },
            CallError::NotRpc(answer) => match answer.status {
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                    Self::InDoubt
                }
                StatusCode::TOO_MANY_REQUESTS => Self::NotDone(Duration::from_secs(1)),
                _ => Self::Lasting,
            },
        }
    }

    const fn of_transport(error: &TransportError) -> Self {
        match error {
            TransportError::Connect { passing: true, .. } | TransportError::ConnectTimeout(_) => {
                Self::NotDone(Duration::ZERO)
            }
            TransportError::Lost { .. } | TransportError::Timeout => Self::InDoubt,
            TransportError::Connect { passing: false, .. }
            | TransportError::Trust(_)
            | TransportError::Certificate { .. }
            | TransportError::Tls { .. }
            | TransportError::NotHttp(_)
            | TransportError::TooLarge(_) => Self::Lasting,
        }
    }
}

/// Returns true if a call done twice leaves everything as one leaves it, and is answered alike, if nobody else changed
/// anything in between. A method that this client does not know is not repeated.
pub(super) fn is_repeatable(method: &str, params: &Value) -> bool {
    match method {
        method::ROUTES_LIST
        | method::ROUTES_GET
        | method::ROUTES_EXPLAIN
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
        // The client's own id makes it one route.
        method::ROUTES_CREATE => params["id"].is_string(),
        // Once done, the version is another.
        method::ROUTES_UPDATE => params["expected_version"].is_null(),
        // A second deletion finds nothing; a second invitation is another token, a second renewal another certificate.
        _ => false,
    }
}

/// Pauses that grow, each somewhat shorter by chance so that many clients do not come back at once.
#[derive(Debug)]
pub(super) struct Pauses {
    next: Duration,
}

impl Pauses {
    pub(super) const fn new() -> Self {
        Self { next: FIRST }
    }

    /// The next pause, no shorter than `least`.
    pub(super) fn next(&mut self, least: Duration) -> Duration {
        let pause = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.next = (self.next * 2).min(LONGEST);
        least.max(pause)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use webgateway_proto::api::jsonrpc::ErrorObject;

    use super::*;

    fn refused(code: i64, data: Value) -> CallError {
        let error = json!({ "code": code, "message": "no", "data": data });
        CallError::Refused(Box::new(serde_json::from_value::<ErrorObject>(error).unwrap()))
    }

    #[test]
    fn what_is_wrong_stays_wrong_and_what_is_away_comes_back() {
        let away = refused(code::UNAVAILABLE, json!({ "kind": "unavailable" }));
        assert_eq!(Outlook::of(&away), Outlook::InDoubt);
        let limited = refused(code::UNAVAILABLE, json!({ "kind": "rate_limited", "retry_after": 7 }));
        assert_eq!(Outlook::of(&limited), Outlook::NotDone(Duration::from_secs(7)));
        for code in [code::UNAUTHENTICATED, code::FORBIDDEN, code::INVALID_PARAMS, code::INTERNAL_ERROR] {
            assert_eq!(Outlook::of(&refused(code, json!({ "kind": "k" }))), Outlook::Lasting, "{code}");
        }
        let authority = || "gw.example".to_owned();
        for (error, outlook) in [
            (TransportError::Timeout, Outlook::InDoubt),
            (TransportError::ConnectTimeout(authority()), Outlook::NotDone(Duration::ZERO)),
            (TransportError::NotHttp(authority()), Outlook::Lasting),
        ] {
            assert_eq!(Outlook::of(&error.into()), outlook);
        }
    }

    #[test]
    fn a_call_is_repeated_where_that_does_no_harm() {
        for (method, params, repeatable) in [
            (method::ROUTES_LIST, json!({}), true),
            (method::ROUTES_CREATE, json!({ "id": "01999999-9999-7999-8999-999999999999" }), true),
            (method::ROUTES_CREATE, json!({}), false),
            (method::ROUTES_UPDATE, json!({ "id": "x" }), true),
            (method::ROUTES_UPDATE, json!({ "id": "x", "expected_version": 7 }), false),
            (method::ROUTES_DELETE, json!({ "id": "x" }), false),
            (method::NODES_INVITE, json!({ "node": "x" }), false),
            ("routes.paint", json!({}), false),
        ] {
            assert_eq!(is_repeatable(method, &params), repeatable, "{method} {params}");
        }
    }

    #[test]
    fn pauses_grow_and_keep_to_what_is_asked_for() {
        let mut pauses = Pauses::new();
        let all: Vec<Duration> = (0..10).map(|_| pauses.next(Duration::ZERO)).collect();
        assert!(all[0] >= FIRST / 2 && all[0] <= FIRST, "{all:?}");
        assert!(all[9] >= LONGEST / 2 && all[9] <= LONGEST, "{all:?}");
        assert_eq!(pauses.next(Duration::from_secs(60)), Duration::from_secs(60));
    }
}
