//! Backends: chosen, dialled, pooled, checked.

pub mod balance;
pub mod connector;
pub mod dial;
pub mod down;
pub mod health;
pub mod monitor;
pub mod pool;
pub mod probe;
pub mod reported;
pub mod view;
pub mod watchlist;
