//! The fuzz targets of this crate, by name. Each takes arbitrary bytes and panics if a property does not hold.

use crate::strict_http::fuzz::strict_http;

/// A fuzz target: its name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// The fuzz targets.
pub const TARGETS: &[Target] = &[("strict_http", strict_http)];

#[cfg(test)]
mod tests {
    use super::TARGETS;

    #[test]
    fn every_corpus_passes() {
        webgateway_fuzz::replay(TARGETS);
    }
}
