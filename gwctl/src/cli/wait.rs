//! The flag `--wait`, and the parser of durations.

use std::time::Duration;

use clap::Args;

/// The flag `--wait` of commands that change something.
#[derive(Debug, Args)]
pub(crate) struct WaitFlag {
    /// Wait until every connected node has applied the change, for at most TIMEOUT [default TIMEOUT: 30s]
    #[arg(long, value_name = "TIMEOUT", num_args = 0..=1, default_missing_value = "30s")]
    #[arg(value_parser = parse_duration)]
    pub(crate) wait: Option<Duration>,
}

/// Parses a duration such as `30s`, `5m` or `1h`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    humantime::parse_duration(text).map_err(|_| "write a duration such as 30s, 5m or 1h")
}
