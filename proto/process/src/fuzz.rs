//! The fuzz targets of this crate, by name: each takes any bytes and panics if a property does not hold.

use crate::strict_http::fuzz::strict_http;

/// A target: its name, and the function.
pub type Target = (&'static str, fn(&[u8]));

/// The targets.
pub const TARGETS: &[Target] = &[("strict_http", strict_http)];

#[cfg(test)]
mod tests {
    use super::TARGETS;

    #[test]
    fn every_corpus_passes() {
        webgateway_fuzz::replay(TARGETS);
    }
}
