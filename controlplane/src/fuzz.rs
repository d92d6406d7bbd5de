//! The fuzz targets of this crate, by name: each takes any bytes and panics if a property does not hold.

use crate::api::fuzz::envelope;
use crate::dns::responder::fuzz::dns;

/// A target: its name, and the function.
pub type Target = (&'static str, fn(&[u8]));

/// The targets.
pub const TARGETS: &[Target] = &[("dns", dns), ("envelope", envelope)];

#[cfg(test)]
mod tests {
    use super::TARGETS;

    #[test]
    fn every_corpus_passes() {
        webgateway_fuzz::replay(TARGETS);
    }
}
