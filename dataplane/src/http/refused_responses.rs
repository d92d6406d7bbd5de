//! The warnings about answers of backends that are refused.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use tracing::warn;
use webgateway_process::{Quota, RateLimit};

use super::error::ProxyError;

/// The warnings a minute about one backend and one reason; the others are in the log at debug level.
const RATE: NonZeroU32 = NonZeroU32::MIN;

/// Warns of answers that are refused, of each backend and reason once a minute. Clones share the limit.
#[derive(Debug, Clone)]
pub(crate) struct RefusedResponseLog(RateLimit<(SocketAddr, &'static str)>);

impl Default for RefusedResponseLog {
    fn default() -> Self {
        Self(RateLimit::new(Quota::per_minute(RATE)))
    }
}

impl RefusedResponseLog {
    /// Warns if `error` is that an answer of `backend` was refused.
    pub(crate) fn report(&self, backend: SocketAddr, error: &ProxyError) {
        if let Some(reason) = error.refusal_reason()
            && self.0.admits((backend, reason))
        {
            warn!(%backend, reason, %error, "backend response refused");
        }
    }
}
