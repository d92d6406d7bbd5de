//! The fuzz targets of this crate, by name. Each takes arbitrary bytes and panics if a property does not hold.

use crate::feed::fuzz::feed;
use crate::httpsig::fuzz::{keys, signatures};

/// A fuzz target: its name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// The fuzz targets.
pub const TARGETS: &[Target] = &[("feed", feed), ("keys", keys), ("signatures", signatures)];

#[cfg(test)]
mod tests {
    use super::TARGETS;

    #[test]
    fn every_corpus_passes() {
        webgateway_fuzz::replay(TARGETS);
    }
}
