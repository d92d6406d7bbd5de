//! Rate-limited warnings about refused responses of backends.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use tracing::warn;
use webgateway_process::{Quota, RateLimit};

use super::error::ProxyError;

/// The maximum number of warnings per minute about one backend and one reason. The others are logged at debug level.
const RATE: NonZeroU32 = NonZeroU32::MIN;

/// A log of refused responses, limited to one warning per minute for each backend and reason. Clones share the limit.
#[derive(Debug, Clone)]
pub(crate) struct RefusedResponseLog(RateLimit<(SocketAddr, &'static str)>);

impl Default for RefusedResponseLog {
    fn default() -> Self {
        Self(RateLimit::new(Quota::per_minute(RATE)))
    }
}

impl RefusedResponseLog {
    /// Warns if `error` means that a response of `backend` was refused.
    pub(crate) fn report(&self, backend: SocketAddr, error: &ProxyError) {
        if let Some(reason) = error.refusal_reason()
            && self.0.admits((backend, reason))
        {
            warn!(%backend, reason, %error, "backend response refused");
        }
    }
}
