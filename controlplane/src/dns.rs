//! The name server of `_acme-challenge.<base domain>` and of nothing else, and what others' name servers say.

pub(crate) mod resolver;
#[cfg(test)]
pub(crate) mod sample;

pub(crate) mod txt;
pub(crate) mod zone;

pub(crate) mod responder;

#[cfg(test)]
mod tests;
