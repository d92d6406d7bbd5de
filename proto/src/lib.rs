//! The contract between webgateway's processes: the model, the feed, the API and its signatures.

pub mod api;
pub mod audit;
mod error_chain;
pub mod feed;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod httpsig;
pub mod model;

pub use error_chain::{describe_error, error_chain};
