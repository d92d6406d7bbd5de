//! The bounds that a route sets for one exchange: its timeouts, and the size of the request's body.

use std::cell::Cell;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::time::{Instant, Sleep, sleep_until};
use webgateway_proto::model::RouteOptions;
use webgateway_proto::model::options::{MaxBody, Timeout, Timeouts};

/// The bounds of an exchange. Without a route, and for a route that sets none, there are none.
#[derive(Debug, Default)]
pub(crate) struct ExchangeBounds {
    timeouts: Cell<Timeouts>,
    /// The time at which the exchange has to end.
    deadline: Cell<Option<Instant>>,
    /// The number of bytes of the request's body that may still come.
    body_rest: Cell<Option<u64>>,
    is_body_too_large: Cell<bool>,
}

impl ExchangeBounds {
    /// Sets the bounds of a route. The total timeout begins now.
    pub(crate) fn set(&self, options: &RouteOptions) {
        self.body_rest.set(options.max_body.map(MaxBody::bytes));
        if !options.timeouts.is_empty() {
            self.timeouts.set(options.timeouts);
            self.deadline.set(options.timeouts.total.map(|total| Instant::now() + total.duration()));
        }
    }

    /// Returns the timeout for connecting to a backend.
    #[must_use]
    pub(crate) fn connect(&self) -> Option<Timeout> {
        self.timeouts.get().connect
    }

    /// Returns the timeout for the head of a response, or else `limit`.
    #[must_use]
    pub(crate) fn first_byte_or(&self, limit: Duration) -> Duration {
        self.timeouts.get().first_byte.map_or(limit, Timeout::duration)
    }

    /// Returns the timeout without progress of a response or tunnel, or else `limit`.
    #[must_use]
    pub(crate) fn idle_or(&self, limit: Duration) -> Duration {
        self.timeouts.get().idle.map_or(limit, Timeout::duration)
    }

    /// Returns a timer that fires when the exchange has to end, if it has a total timeout.
    #[must_use]
    pub(crate) fn total_timer(&self) -> Option<Pin<Box<Sleep>>> {
        self.deadline.get().map(|deadline| Box::pin(sleep_until(deadline)))
    }

    /// Counts a part of the request's body. Returns false once the body is larger than it may be.
    #[must_use]
    pub(crate) fn admit(&self, frame: &Frame<Bytes>) -> bool {
        let Some(rest) = self.body_rest.get() else { return true };
        let rest = rest.checked_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
        self.body_rest.set(rest.or(Some(0)));
        self.is_body_too_large.set(rest.is_none());
        rest.is_some()
    }

    /// Returns whether the request's body was larger than it may be.
    #[must_use]
    pub(crate) fn is_body_too_large(&self) -> bool {
        self.is_body_too_large.get()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn a_body_may_have_its_maximum_size_and_not_one_byte_more() {
        for (max, sizes, admitted) in [
            (None, &[1 << 20, 1 << 20][..], &[true, true][..]),
            (Some(3), &[3, 0], &[true, true]),
            (Some(3), &[1, 2, 1], &[true, true, false]),
            (Some(3), &[4], &[false]),
        ] {
            let bounds = ExchangeBounds::default();
            let max_body = max.map(|max: u64| MaxBody::try_from(max).unwrap());
            bounds.set(&RouteOptions { max_body, ..RouteOptions::default() });
            let frames = sizes.iter().map(|size| Frame::data(Bytes::from(vec![0; *size])));
            assert_eq!(
                frames.map(|frame| bounds.admit(&frame)).collect::<Vec<_>>(),
                admitted,
                "{max:?} {sizes:?}"
            );
            assert_eq!(bounds.is_body_too_large(), admitted.contains(&false));
            if !bounds.is_body_too_large() {
                assert!(bounds.admit(&Frame::trailers(HeaderMap::new())), "trailers are no part of the size");
            }
        }
    }
}
