//! The parts that both webgateway processes share: lifecycle, configuration, signals, supervised tasks, listeners and
//! their connection limits, readiness, logging, metrics and the admin server.

pub mod accept;
pub mod admin;
mod application;
mod bind;
pub mod client_io;
mod descriptors;
mod expiring_body;
mod file_checks;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod inherited;
pub mod listen;
mod local;
mod log;
mod memory;
mod metrics;
mod network;
pub mod notify;
mod rate_limit;
mod readiness;
mod reload;
pub mod settings;
pub mod signals;
mod slots;
mod stack;
mod stop;
mod strict_http;
mod tasks;
mod watchdog;

pub use application::{Application, run};
pub use bind::BindError;
pub use descriptors::max_clients;
pub use expiring_body::{BodyExpiredError, ExpiringBody};
pub use file_checks::{FileCheck, FileCheckError};
pub use governor::Quota;
pub use inherited::{InheritedError, InheritedSockets, at_most_one};
pub use local::LocalTasks;
pub use memory::{MemoryReservation, NetworkMemory};
pub use metrics::{PREFIX, ProcessMetrics};
pub use network::Network;
pub use rate_limit::{NetworkRateLimit, RateLimit};
pub use readiness::{Blocker, Readiness};
pub use reload::watch as watch_reload;
pub use slots::{Slot, Slots};
pub use stack::{network_stack, reachable};
pub use stop::Stop;
pub use strict_http::{HeadError, HeadFault, ResponseHeads, StrictHttp, StrictResponses};
pub use tasks::{TaskError, Tasks};
pub use watchdog::{Pulse, Watchdog};
