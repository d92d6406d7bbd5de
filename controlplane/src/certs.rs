//! Certificates: the schedule of issuance and renewal, the issuers, and the reconciler that runs them.

pub(crate) mod internal;
pub(crate) mod schedule;

pub(crate) mod challenge;

pub(crate) mod solver;

mod caa;

pub(crate) mod preflight;

pub(crate) mod https;

mod directory;

pub(crate) mod acme;

pub(crate) mod account;
pub(crate) mod budget;

pub(crate) mod order;

pub(crate) mod issuer;

pub(crate) mod reconciler;

#[cfg(test)]
mod samples;
