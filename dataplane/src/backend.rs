//! Backends: chosen, dialled, pooled, checked.

pub(crate) mod balance;
pub(crate) mod connector;
pub(crate) mod dial;
pub(crate) mod down;
pub(crate) mod health;
pub(crate) mod monitor;
pub(crate) mod passing;
pub(crate) mod pool;
pub(crate) mod probe;
pub(crate) mod reported;
pub(crate) mod stream;
pub(crate) mod view;
pub(crate) mod watchlist;
