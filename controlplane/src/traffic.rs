//! The traffic that nodes report: the last hour in memory, hourly rows in the store, and followed access logs.

mod followers;
mod memory;
mod series;
mod state;
mod units;
mod writer;

pub(crate) use self::followers::{LogEntries, LogEntry};
pub(crate) use self::memory::Window;
pub(crate) use self::series::RecentTraffic;
pub(crate) use self::state::TrafficState;
pub(crate) use self::units::{hour_of, unix_micros};
pub(crate) use self::writer::TrafficWriter;
