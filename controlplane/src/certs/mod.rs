//! Certificates: which are needed, who issues them, and the reconciler that sees to it.

pub mod internal;
pub mod issuer;
pub mod schedule;
pub mod task;
