//! The contract between webgateway's processes: the model, the feed, the API and its signatures.

pub mod api;
pub mod audit;
pub mod feed;
pub mod httpsig;
pub mod model;
