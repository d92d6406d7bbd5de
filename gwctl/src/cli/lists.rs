//! The flags of commands that list routes and certificates.

use clap::{Args, ValueEnum};

/// The flags of `gwctl routes list`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RouteFilter {
    /// List only routes whose host starts with this
    #[arg(long, value_name = "START")]
    pub(crate) host: Option<String>,
    /// List only routes of this user (admin)
    #[arg(long, value_name = "KEY_ID")]
    pub(crate) owner: Option<String>,
    /// List only routes with this mode
    #[arg(long, value_enum)]
    pub(crate) mode: Option<Mode>,
    /// List at most N routes [default: all]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
    /// Keep running and print each change: + is created, ~ is changed, - is deleted
    #[arg(short, long, conflicts_with = "limit")]
    pub(crate) watch: bool,
}

/// The flag that limits a list.
#[derive(Debug, Clone, Args)]
pub(crate) struct ListLimit {
    /// List at most N entries [default: all]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
}

/// The mode of a route: where its TLS connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// The gateway terminates TLS
    Terminate,
    /// The gateway passes TLS through to the backend
    Passthrough,
}
