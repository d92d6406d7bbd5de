//! The feed: everything the nodes shall hold, and each node brought there.

pub mod catalog;
pub mod challenges;
pub mod diff;
pub mod enrolment;
pub mod listeners;
pub mod load;
pub mod members;
pub mod nodes;
pub mod peer;
mod preface;
pub mod questions;
#[cfg(test)]
mod samples;
pub mod server;
pub mod session;
pub mod socket;
