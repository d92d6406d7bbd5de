//! Certificates: which are needed, who issues them, and the reconciler that sees to it.

pub mod internal;
pub mod solver;

pub mod preflight;

pub mod issuer;
pub mod schedule;
pub mod task;
