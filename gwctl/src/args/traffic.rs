//! The conversion of `gwctl routes stats` and `gwctl routes logs` into API params.

use webgateway_proto::api::{LogsParams, StatsParams, TrafficOrder, Window};

use super::error::ArgError;
use super::routes::pasted_host;
use crate::cli;

/// Returns the params for `gwctl routes stats`. What has its default is left out.
pub(super) fn stats(flags: &cli::Stats) -> Result<StatsParams, ArgError> {
    let window = match flags.window {
        cli::Window::Minute => Some(Window::Minute),
        cli::Window::Hour => None,
        cli::Window::Day => Some(Window::Day),
    };
    let sort = match flags.sort {
        cli::Order::Requests => None,
        cli::Order::Bytes => Some(TrafficOrder::Bytes),
    };
    let host = flags.host.as_deref().map(pasted_host).transpose()?.map(String::from);
    Ok(StatsParams { host, window, sort, limit: flags.limit, hours: flags.hours })
}

/// Returns the params for `gwctl routes logs`.
pub(super) fn logs(flags: &cli::Logs) -> Result<LogsParams, ArgError> {
    let host = pasted_host(&flags.host)?.into();
    if flags.follow { Ok(LogsParams { host, after: None, wait: None }) } else { Err(ArgError::NoLines) }
}
