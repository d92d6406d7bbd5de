//! The syntax of `gwctl routes stats` and `gwctl routes logs`.

use clap::{Args, ValueEnum};

/// The flags of `gwctl routes stats`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Stats {
    /// Show only the route of this host, with its traffic on each node
    pub(crate) host: Option<String>,
    /// The time by which routes are listed and sorted
    #[arg(long, value_enum, default_value = "hour", conflicts_with = "host")]
    pub(crate) window: Window,
    /// The order: the most requests and passthrough connections first, or the most bytes
    #[arg(long, value_enum, default_value = "requests", conflicts_with = "host")]
    pub(crate) sort: Order,
    /// List at most N routes, from 1 to 1000 [default: 20]
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "host")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: Option<u32>,
    /// Add each of the last N hours, from 1 to 720; needs HOST
    #[arg(long, value_name = "N", requires = "host")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=720))]
    pub(crate) hours: Option<u32>,
    /// Keep running and show the traffic every 2 s, until Ctrl-C
    #[arg(short, long)]
    pub(crate) watch: bool,
}

/// The flags of `gwctl routes logs`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Logs {
    /// The host of the route, such as myapp.gateway.example.com
    pub(crate) host: String,
    /// Print a line for each request from now on, until Ctrl-C. Without this flag there is nothing to show, because the
    /// gateway keeps no lines
    #[arg(short, long)]
    pub(crate) follow: bool,
}

/// A time that ends now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Window {
    /// The last minute
    Minute,
    /// The last hour
    Hour,
    /// The last day
    Day,
}

/// The order of routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    /// By requests and passthrough connections
    Requests,
    /// By bytes in both directions
    Bytes,
}
