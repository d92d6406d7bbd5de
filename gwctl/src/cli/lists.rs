//! The flags of lists.

use clap::{Args, ValueEnum};

/// Which routes to list.
#[derive(Debug, Clone, Args)]
pub(crate) struct RouteFilter {
    /// Only routes whose host begins with this
    #[arg(long, value_name = "START")]
    pub(crate) host: Option<String>,
    /// Only routes of this user (admin)
    #[arg(long, value_name = "KEY_ID")]
    pub(crate) owner: Option<String>,
    /// Only routes of this mode
    #[arg(long, value_enum)]
    pub(crate) mode: Option<Mode>,
    /// How many routes at most [default: all]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
    /// Go on and print each change of them: + is new, ~ is another now, - is gone
    #[arg(short, long, conflicts_with = "limit")]
    pub(crate) watch: bool,
}

/// How long a list may be.
#[derive(Debug, Clone, Args)]
pub(crate) struct ListLimit {
    /// How many at most [default: all]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
}

/// How TLS is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// By the gateway
    Terminate,
    /// By the backend
    Passthrough,
}
