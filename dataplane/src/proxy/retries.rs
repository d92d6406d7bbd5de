//! The attempts to forward one request: their number, their backends, and the failures after which there is another.

use std::time::Duration;

use http::StatusCode;
use tokio::time::sleep;
use webgateway_proto::model::Backend;
use webgateway_proto::model::options::{Retries, RetryOn};

use crate::backend::connector::{Connector, Selection};
use crate::http::error::ProxyError;

/// The maximum number of attempts of a route without `retries`.
const DEFAULT_ATTEMPTS: u8 = 2;
/// The pause before the second round over all backends; each further one is twice as long. A backend that has just
/// failed is not better at once.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
/// The maximum number of times that the pause is doubled.
const MAX_DOUBLINGS: u32 = 5;

/// The attempts to forward one request.
#[derive(Debug)]
pub(super) struct Attempts<'a> {
    retries: Option<&'a Retries>,
    made: u8,
    /// The number of times that all backends were tried.
    rounds: u32,
}

impl<'a> Attempts<'a> {
    /// Starts the attempts of a request to a route with these retries.
    pub(super) fn new(retries: Option<&'a Retries>) -> Self {
        Self { retries, made: 0, rounds: 0 }
    }

    /// Returns the backend for the next attempt. Once all were tried, they are tried again, after a pause, if the route
    /// has `retries`.
    pub(super) async fn next_backend(
        &mut self,
        connector: &Connector,
        selection: &mut Selection<'_>,
    ) -> Option<Backend> {
        if !self.has_more() {
            return None;
        }
        let mut next = connector.next(selection);
        if next.is_none() && self.retries.is_some() {
            let pause = FIRST_PAUSE * (1 << self.rounds.min(MAX_DOUBLINGS));
            // Boxed, as most requests need no pause.
            Box::pin(sleep(pause.mul_f64(1.0 + fastrand::f64()))).await;
            self.rounds += 1;
            selection.forget_tried();
            next = connector.next(selection);
        }
        self.made += 1;
        next
    }

    /// Returns whether the current attempt is not the first.
    pub(super) fn is_repeating(&self) -> bool {
        self.made > 1
    }

    /// Returns whether there may be another attempt after the request was sent, so that a copy is needed.
    pub(super) fn may_repeat_sent(&self) -> bool {
        self.retries.is_some() && self.has_more()
    }

    /// Returns whether there is another attempt after nothing could be sent.
    pub(super) fn repeats_unsent(&self) -> bool {
        self.retries.is_none_or(|retries| retries.on.contain(RetryOn::Connect)) && self.has_more()
    }

    /// Returns whether there is another attempt after a sent request got no response.
    pub(super) fn repeats_error(&self, error: &ProxyError) -> bool {
        match error {
            ProxyError::ConnectionClosed | ProxyError::Unprocessed => self.repeats_on(RetryOn::Closed),
            ProxyError::ResponseTimeout => self.repeats_on(RetryOn::Timeout),
            _ => false,
        }
    }

    /// Returns whether there is another attempt after a response with this status.
    pub(super) fn repeats_status(&self, status: StatusCode) -> bool {
        match status {
            StatusCode::BAD_GATEWAY => self.repeats_on(RetryOn::BadGateway),
            StatusCode::SERVICE_UNAVAILABLE => self.repeats_on(RetryOn::ServiceUnavailable),
            StatusCode::GATEWAY_TIMEOUT => self.repeats_on(RetryOn::GatewayTimeout),
            _ => false,
        }
    }

    fn repeats_on(&self, condition: RetryOn) -> bool {
        self.retries.is_some_and(|retries| retries.on.contain(condition)) && self.has_more()
    }

    fn has_more(&self) -> bool {
        self.made < self.retries.map_or(DEFAULT_ATTEMPTS, |retries| retries.attempts.get())
    }
}

#[cfg(test)]
mod tests {
    use webgateway_proto::model::Words;
    use webgateway_proto::model::options::RetryConditions;

    use super::*;
    use crate::backend::dial::DialError;

    /// Returns the failures after which there is another attempt.
    fn repeated(attempts: &Attempts<'_>) -> Vec<&'static str> {
        let statuses = [500, 502, 503, 504, 200].map(|code| StatusCode::from_u16(code).unwrap());
        let statuses = statuses.into_iter().zip(["500", "502", "503", "504", "200"]);
        let errors = [
            (ProxyError::ConnectionClosed, "closed"),
            (ProxyError::ResponseTimeout, "timeout"),
            (ProxyError::TotalTimeout, "total"),
            (ProxyError::HeadTooLarge, "head"),
            (ProxyError::BodyTooLarge, "body"),
            (ProxyError::Dial(DialError::Refused), "sent dial"),
        ];
        let mut all = Vec::new();
        all.extend(attempts.repeats_unsent().then_some("connect"));
        all.extend(errors.iter().filter(|(error, _)| attempts.repeats_error(error)).map(|(_, name)| *name));
        all.extend(statuses.filter(|(status, _)| attempts.repeats_status(*status)).map(|(_, name)| name));
        all
    }

    #[test]
    fn there_is_another_attempt_only_after_the_named_failures() {
        let attempts = 3.try_into().unwrap();
        for condition in RetryOn::ALL {
            let on = RetryConditions::parse([condition.as_str()]).unwrap();
            let retries = Retries { attempts, on };
            assert_eq!(repeated(&Attempts::new(Some(&retries))), [condition.as_str()]);
            assert_eq!(repeated(&Attempts { made: 3, ..Attempts::new(Some(&retries)) }), [""; 0]);
        }
        assert_eq!(repeated(&Attempts::new(None)), ["connect"], "without the option");
        assert!(!Attempts::new(None).may_repeat_sent());
    }
}
