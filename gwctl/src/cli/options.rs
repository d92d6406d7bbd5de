//! The flags of route options, which `routes create` and `routes update` share.

mod access;
mod auth;
mod backend;
mod balancing;
mod bounds;
mod error;
mod headers;
mod hsts;
mod maintenance;
mod paths;
mod proxy_protocol;
mod rate_limit;
mod subdomains;
mod words;

use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use webgateway_proto::model::options::HostHeader;
use webgateway_proto::model::{
    Balance, HealthCheck, InvalidHealthCheckError, Patch, RouteOptions, RouteOptionsPatch,
};

pub(crate) use self::error::OptionError;
use self::words::enum_parser;

/// The heading above these flags in the help.
pub(crate) const HEADING: &str = "Route options";

/// The flags of route options. An option that is not given keeps its value; a new route gets its default.
#[derive(Debug, Args)]
#[command(next_help_heading = HEADING)]
pub(crate) struct RouteOptionFlags {
    /// The load balancing method [default: round_robin]
    #[arg(short, long, value_parser = enum_parser::<Balance>())]
    method: Option<Balance>,
    /// Check the backends actively from every node: `tcp` opens a connection, a path such as /healthz is requested with
    /// GET
    #[arg(long, value_name = "tcp|PATH")]
    health: Option<String>,
    /// The interval between health checks, from 1s to 1h [default: 10s]
    #[arg(long, value_name = "DURATION", requires = "health", value_parser = super::wait::parse_duration)]
    health_interval: Option<Duration>,
    /// The number of consecutive successful checks that make a backend healthy [default: 2]
    #[arg(long, value_name = "N", requires = "health")]
    health_rise: Option<u32>,
    /// The number of consecutive failed checks that make a backend unhealthy [default: 3]
    #[arg(long, value_name = "N", requires = "health")]
    health_fall: Option<u32>,
    /// The Host header in requests to the backends of a terminated route [default: preserve]
    #[arg(long, value_parser = enum_parser::<HostHeader>())]
    host_header: Option<HostHeader>,
    #[command(flatten)]
    backend: backend::BackendFlags,
    #[command(flatten)]
    paths: paths::PathFlags,
    #[command(flatten)]
    headers: headers::HeaderFlags,
    #[command(flatten)]
    hsts: hsts::HstsFlags,
    #[command(flatten)]
    access: access::AccessFlags,
    #[command(flatten)]
    pub(crate) balancing: balancing::BalancingFlags,
    #[command(flatten)]
    bounds: bounds::BoundFlags,
    #[command(flatten)]
    proxy_protocol: proxy_protocol::ProxyProtocolFlags,
    #[command(flatten)]
    maintenance: maintenance::MaintenanceFlags,
    #[command(flatten)]
    rate_limit: rate_limit::RateLimitFlags,
    #[command(flatten)]
    auth: auth::AuthFlags,
    #[command(flatten)]
    subdomains: subdomains::SubdomainFlags,
}

/// The flags that reset route options to their defaults.
#[derive(Debug, Args)]
#[command(next_help_heading = HEADING)]
pub(crate) struct ResetFlags {
    /// Reset an option to its default, by its name in the API, such as balance; repeatable
    #[arg(long, value_name = "OPTION", value_parser = PossibleValuesParser::new(RouteOptions::NAMES))]
    reset: Vec<String>,
    /// Disable active health checks, as --reset health does
    #[arg(long, conflicts_with = "health")]
    no_health: bool,
}

impl RouteOptionFlags {
    /// Returns the changes that the flags request.
    pub(crate) fn patch(&self) -> Result<RouteOptionsPatch, OptionError> {
        let mut patch = RouteOptionsPatch {
            balance: self.method.into(),
            health: self.health()?.map(Some).into(),
            host_header: self.host_header.into(),
            ..RouteOptionsPatch::default()
        };
        self.backend.add_to(&mut patch)?;
        self.paths.add_to(&mut patch)?;
        self.headers.add_to(&mut patch)?;
        self.hsts.add_to(&mut patch)?;
        self.access.add_to(&mut patch)?;
        self.balancing.add_to(&mut patch)?;
        self.bounds.add_to(&mut patch)?;
        self.proxy_protocol.add_to(&mut patch);
        self.maintenance.add_to(&mut patch)?;
        self.rate_limit.add_to(&mut patch)?;
        self.auth.add_to(&mut patch)?;
        self.subdomains.add_to(&mut patch)?;
        Ok(patch)
    }

    /// Iterates over the words of options that may be backends.
    pub(crate) fn backends(&self) -> impl Iterator<Item = &str> {
        // A weight begins with its backend.
        self.paths.backends().chain(self.balancing.weights.iter().map(String::as_str))
    }

    /// Replaces the backends in options for which `replacement` returns another spelling.
    pub(crate) fn replace_backends(&mut self, replacement: impl Fn(&str) -> Option<String>) {
        for weight in &mut self.balancing.weights {
            if let Some(resolved) = replacement(weight) {
                *weight = resolved;
            }
        }
        self.paths.replace_backends(replacement);
    }

    /// Returns whether [`patch`](Self::patch) asks for passwords.
    pub(crate) fn asks_for_passwords(&self) -> bool {
        self.auth.asks_for_passwords()
    }

    fn health(&self) -> Result<Option<HealthCheck>, OptionError> {
        let Some(probe) = &self.health else { return Ok(None) };
        let path = Some(probe.as_str()).filter(|probe| *probe != "tcp");
        let interval = self.health_interval.unwrap_or(HealthCheck::INTERVAL);
        if interval.subsec_nanos() > 0 {
            return Err(InvalidHealthCheckError::Interval.into());
        }
        let rise = self.health_rise.unwrap_or(HealthCheck::RISE);
        let fall = self.health_fall.unwrap_or(HealthCheck::FALL);
        Ok(Some(HealthCheck::new(path, interval, rise, fall)?))
    }
}

impl ResetFlags {
    /// Adds the resets to `patch`.
    pub(crate) fn add_to(&self, mut patch: RouteOptionsPatch) -> RouteOptionsPatch {
        for name in &self.reset {
            // clap has validated the names.
            let _ = patch.reset(name);
        }
        if self.no_health {
            patch.health = Patch::Reset;
        }
        patch
    }
}
