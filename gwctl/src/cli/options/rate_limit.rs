//! The flags of `rate_limit`.

use clap::Args;
use webgateway_proto::model::options::{InvalidRateLimitError, RateLimit};
use webgateway_proto::model::{Patch, RouteOptionsPatch};

use super::error::OptionError;

/// The flags of `rate_limit`. Those that are given replace the whole option.
#[derive(Debug, Args)]
pub(super) struct RateLimitFlags {
    /// The requests per second of each client network (IPv4 /24, IPv6 /56), from 0.001 to 1000000; terminated routes only
    #[arg(long, value_name = "N")]
    rate_limit: Option<f64>,
    /// The number of requests that may come at once, from 1 to 100000 [default: those of one second]
    #[arg(long, value_name = "N", requires = "rate_limit")]
    rate_limit_burst: Option<u32>,
    /// The concurrent requests of each client network, or connections of a passthrough route, from 1 to 1000000
    #[arg(long, value_name = "N")]
    rate_limit_connections: Option<u32>,
}

impl RateLimitFlags {
    /// Adds the flags to `patch`.
    pub(super) fn add_to(&self, patch: &mut RouteOptionsPatch) -> Result<(), OptionError> {
        let Self { rate_limit, rate_limit_burst, rate_limit_connections } = *self;
        if rate_limit.is_none() && rate_limit_connections.is_none() {
            return Ok(());
        }
        let limit = RateLimit::new(rate_limit, rate_limit_burst, rate_limit_connections);
        let limit = limit.map_err(|error| {
            let flag = match error {
                InvalidRateLimitError::Requests | InvalidRateLimitError::Empty => "--rate-limit",
                InvalidRateLimitError::Burst | InvalidRateLimitError::BurstAlone => "--rate-limit-burst",
                InvalidRateLimitError::Connections => "--rate-limit-connections",
            };
            OptionError::new(flag, &error)
        })?;
        patch.rate_limit = Patch::Set(Some(limit));
        Ok(())
    }
}
