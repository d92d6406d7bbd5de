//! The name server of `_acme-challenge.<base domain>` and of nothing else, and what others' name servers say.

pub mod resolver;
#[cfg(test)]
pub(crate) mod sample;

pub mod txt;
pub mod zone;

pub mod answers;

#[cfg(test)]
mod tests;
