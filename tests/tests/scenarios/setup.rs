//! The processes that most scenarios start with.

pub(crate) mod acme;
pub(crate) mod full;
pub(crate) mod standalone;
