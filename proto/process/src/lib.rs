//! What both webgateway processes need to live: configuration, signals, supervised tasks, readiness, logging, the admin server.

pub mod admin;
mod bind;
pub mod log;
pub mod notify;
mod readiness;
pub mod settings;
pub mod signals;
mod stop;
mod tasks;

pub use bind::BindError;
pub use readiness::{Blocker, Readiness};
pub use stop::Stop;
pub use tasks::{TaskFailed, Tasks};
