//! What both webgateway processes need to live: configuration, signals, supervised tasks, readiness, logging, the admin server, secrets at rest, DNS.

pub mod accept;
pub mod admin;
mod application;
mod bind;
pub mod dns;
mod inherited;
mod local;
pub mod log;
mod metrics;
mod network;
pub mod notify;
mod readiness;
pub mod seal;
pub mod settings;
pub mod signals;
mod slots;
mod stop;
mod tasks;
mod watchdog;

pub use application::{Application, run};
pub use bind::BindError;
pub use inherited::{Inherited, InheritedError, at_most_one};
pub use local::LocalTasks;
pub use metrics::{PREFIX, ProcessMetrics};
pub use network::Network;
pub use readiness::{Blocker, Readiness};
pub use slots::{Slot, Slots};
pub use stop::Stop;
pub use tasks::{TaskError, Tasks};
pub use watchdog::{Pulse, Watchdog};
