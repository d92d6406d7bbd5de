//! The traffic of each route: counted by the workers, collected every second, and reported to the controlplane.
//!
//! Each worker counts in cells of its own, so that counting needs no lock and no atomic operation. A route has a cell
//! while it has traffic or open connections.

mod cell;
mod channels;
mod line_budget;
mod record;
mod record_slot;
mod reporter;
mod worker;

pub(crate) use self::channels::StatsChannels;
pub(crate) use self::record::{RequestHead, TrafficRecord};
pub(crate) use self::record_slot::RecordSlot;
pub(crate) use self::reporter::{TrafficReporter, traffic_reporter};
pub(crate) use self::worker::WorkerStats;
