//! The feed: the resources that nodes must have, and the gRPC service that synchronizes every node with them.

pub(crate) mod catalog;
pub(crate) mod challenges;
pub(crate) mod diff;
pub(crate) mod enrolment;
pub(crate) mod explain;
pub(crate) mod listeners;
pub(crate) mod load;
pub(crate) mod members;
pub(crate) mod nodes;
pub(crate) mod peer;
mod preface;
#[cfg(test)]
mod samples;
pub(crate) mod server;
pub(crate) mod session;
pub(crate) mod socket;
