//! DNS: the authoritative server for `_acme-challenge.<base domain>`, and a resolver for other names.

pub(crate) mod resolver;
#[cfg(test)]
pub(crate) mod sample;

pub(crate) mod txt;
pub(crate) mod zone;

pub(crate) mod responder;

#[cfg(test)]
mod tests;
