//! The flag `--wait` of what changes something.

use std::time::Duration;

use clap::Args;

/// Whether to wait for the nodes.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Wait until every connected node has the change, for TIMEOUT at most [default TIMEOUT: 30s]
    #[arg(long, value_name = "TIMEOUT", num_args = 0..=1, default_missing_value = "30s")]
    #[arg(value_parser = super::duration)]
    pub(crate) wait: Option<Duration>,
}
