//! The source of the snapshot: a controlplane's feed, or a file.

pub(crate) mod apply;
pub(crate) mod backoff;
pub(crate) mod cache;
pub(crate) mod client;
pub(crate) mod connector;
pub(crate) mod drain;
pub(crate) mod enrolment;
pub(crate) mod file;
mod publish;
pub(crate) mod renewal;
pub(crate) mod rotation;

pub(crate) use publish::{PublishedBatch, Publisher};
