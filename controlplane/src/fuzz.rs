//! The fuzz targets of this crate. A target accepts any bytes and panics if a property does not hold.

use crate::api::fuzz::envelope;
use crate::dns::responder::fuzz::dns;

/// A fuzz target: its name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// The fuzz targets of this crate.
pub const TARGETS: &[Target] = &[("dns", dns), ("envelope", envelope)];

#[cfg(test)]
mod tests {
    use super::TARGETS;

    #[test]
    fn every_corpus_passes() {
        webgateway_fuzz::replay(TARGETS);
    }
}
