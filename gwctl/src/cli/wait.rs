//! Times on the command line, and the flag `--wait`.

use std::time::Duration;

use clap::Args;

/// The flag `--wait` of what changes something.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Wait until every connected node has the change, for TIMEOUT at most [default TIMEOUT: 30s]
    #[arg(long, value_name = "TIMEOUT", num_args = 0..=1, default_missing_value = "30s")]
    #[arg(value_parser = duration)]
    pub(crate) wait: Option<Duration>,
}

/// Parses a time as it is written, such as `30s`, `5m` or `1h`.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    humantime::parse_duration(text).map_err(|_| "a time is needed, such as 30s, 5m or 1h")
}
