//! The fuzz targets of this crate, by name: each takes any bytes and panics if a property does not hold.

use crate::edge::hello::fuzz::hello;
use crate::proxy::fuzz::{requests, responses, trailers};

/// A target: its name, and the function.
pub type Target = (&'static str, fn(&[u8]));

/// The targets.
pub const TARGETS: &[Target] =
    &[("hello", hello), ("requests", requests), ("responses", responses), ("trailers", trailers)];

#[cfg(test)]
mod tests {
    use super::TARGETS;

    #[test]
    fn every_corpus_passes() {
        webgateway_fuzz::replay(TARGETS);
    }
}
