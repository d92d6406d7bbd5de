//! The fuzz targets of this crate, by name: each takes any bytes and panics if a property does not hold.

use crate::feed::fuzz::feed;
use crate::httpsig::fuzz::{keys, signatures};

/// A target: its name, and the function.
pub type Target = (&'static str, fn(&[u8]));

/// The targets.
pub const TARGETS: &[Target] = &[("feed", feed), ("keys", keys), ("signatures", signatures)];

#[cfg(test)]
mod tests {
    use super::TARGETS;

    #[test]
    fn every_corpus_passes() {
        webgateway_fuzz::replay(TARGETS);
    }
}
