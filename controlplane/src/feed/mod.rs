//! The feed: everything the nodes shall hold, and each node brought there.

pub mod catalog;
pub mod challenges;
pub mod diff;
pub mod load;
pub mod nodes;
mod preface;
#[cfg(test)]
mod samples;
pub mod server;
pub mod session;
pub mod socket;
