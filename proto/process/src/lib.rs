//! What both webgateway processes need to live: configuration, signals, supervised tasks, readiness, logging, the admin server, secrets at rest, DNS.

pub mod admin;
mod bind;
pub mod dns;
mod inherited;
pub mod log;
pub mod notify;
mod readiness;
pub mod seal;
pub mod settings;
pub mod signals;
mod stop;
mod tasks;
mod watchdog;

pub use bind::BindError;
pub use inherited::{Inherited, NotInherited, at_most_one};
pub use readiness::{Blocker, Readiness};
pub use stop::Stop;
pub use tasks::{TaskFailed, Tasks};
pub use watchdog::{Pulse, Watchdog};
