//! Rate-limited warnings about refused connections.

use std::net::IpAddr;
use std::num::NonZeroU32;

use tracing::warn;
use webgateway_process::{Quota, RateLimit};

use crate::metrics::Refusal;

/// The maximum number of warnings per minute about one reason. The metrics have the exact number.
const RATE: NonZeroU32 = NonZeroU32::MIN;

/// A log of refused connections that operators should know of, limited to one warning per minute for each reason. Clones
/// share the limit.
#[derive(Debug, Clone)]
pub(crate) struct RefusalLog(RateLimit<Refusal>);

impl Default for RefusalLog {
    fn default() -> Self {
        Self(RateLimit::new(Quota::per_minute(RATE)))
    }
}

impl RefusalLog {
    /// Warns that a connection from `address` was refused; `what` says why in plain words.
    pub(crate) fn report(&self, reason: Refusal, address: IpAddr, what: impl std::fmt::Display) {
        if self.0.admits(reason) {
            warn!(?reason, %address, "connection refused: {what}");
        }
    }
}
