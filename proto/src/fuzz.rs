//! The fuzz targets of this crate, by name: each takes any bytes and panics if a property does not hold.

use crate::feed::fuzz::feed;
use crate::httpsig::fuzz::{keys, signatures};

/// The targets.
pub const TARGETS: &[(&str, fn(&[u8]))] = &[("feed", feed), ("keys", keys), ("signatures", signatures)];

#[cfg(test)]
mod tests {
    use super::TARGETS;

    #[test]
    fn every_corpus_passes() {
        webgateway_fuzz::replay(TARGETS);
    }
}
