//! Setups of processes that several scenarios start with.

pub(crate) mod acme;
pub(crate) mod full;
pub(crate) mod standalone;
