//! The name server of `_acme-challenge.<base domain>`, and of nothing else.

pub mod server;
pub mod txt;
pub mod zone;
