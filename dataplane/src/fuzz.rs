//! The fuzz targets of this crate. Each accepts arbitrary bytes and panics if a property is violated.

use crate::edge::hello::fuzz::hello;
use crate::proxy::fuzz::{requests, responses, trailers};
use crate::proxy_protocol::fuzz::proxy_header;

/// The name of a target, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("hello", hello),
    ("proxy_header", proxy_header),
    ("requests", requests),
    ("responses", responses),
    ("trailers", trailers),
];

#[cfg(test)]
mod tests {
    use super::TARGETS;

    #[test]
    fn every_input_of_the_corpora_passes() {
        webgateway_fuzz::replay(TARGETS);
    }
}
