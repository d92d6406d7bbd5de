//! Backends: dialled, pooled, chosen.

pub mod balance;
pub mod dial;
pub mod health;
pub mod pool;
