//! Certificates: which are needed, who issues them, and the reconciler that sees to it.

pub mod internal;
pub mod schedule;

pub mod tokens;

pub mod solver;

mod caa;

pub mod preflight;

pub mod https;

mod directory;

pub mod acme;

pub mod account;
pub mod budget;

pub mod order;

pub mod issuer;

pub mod task;

#[cfg(test)]
mod samples;
