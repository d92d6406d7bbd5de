//! The source of the snapshot: a controlplane's feed, or a file.

pub(crate) mod apply;
pub(crate) mod backoff;
pub(crate) mod cache;
pub(crate) mod client;
pub(crate) mod directive;
pub(crate) mod enrolment;
pub(crate) mod file;
pub(crate) mod link;
mod publish;
pub(crate) mod renewal;
pub(crate) mod rotation;

pub(crate) use publish::{Published, Publisher};
