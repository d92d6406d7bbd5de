//! The source of the snapshot: a controlplane's feed, or a file.

pub mod apply;
pub mod backoff;
pub mod cache;
pub mod client;
pub mod directive;
pub mod enrolment;
pub mod file;
pub mod link;
mod publish;
pub mod renewal;
pub mod rotation;

pub use publish::{Published, Publisher};
