//! The maximum size of request bodies.

use std::num::NonZeroU64;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::words::Describe;

/// The largest [`MaxBody`], in bytes: 1 TiB.
const LARGEST: u64 = 1 << 40;

/// The maximum size of a request's body, in bytes from 1 to 1 TiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u64", into = "u64")]
#[schemars(with = "u64")]
pub struct MaxBody(NonZeroU64);

/// A size that is not a valid [`MaxBody`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the maximum size of a body must be from 1 byte to 1 TiB")]
pub struct InvalidMaxBodyError;

impl MaxBody {
    /// Returns the size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0.get()
    }
}

impl TryFrom<u64> for MaxBody {
    type Error = InvalidMaxBodyError;

    fn try_from(bytes: u64) -> Result<Self, InvalidMaxBodyError> {
        NonZeroU64::new(bytes).filter(|bytes| bytes.get() <= LARGEST).map(Self).ok_or(InvalidMaxBodyError)
    }
}

impl From<MaxBody> for u64 {
    fn from(size: MaxBody) -> Self {
        size.bytes()
    }
}

impl Describe for MaxBody {
    fn describe(&self) -> String {
        let bytes = self.bytes();
        let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let whole = units.iter().find(|(unit, _)| bytes.is_multiple_of(*unit));
        whole.map_or_else(|| format!("{bytes} bytes"), |(unit, name)| format!("{} {name}", bytes / unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_bounds_and_are_described_in_the_largest_whole_unit() {
        for (bytes, described) in [
            (1, "1 bytes"),
            (1023, "1023 bytes"),
            (1536, "1536 bytes"),
            (10 << 20, "10 MiB"),
            (3 << 30, "3 GiB"),
            (LARGEST, "1 TiB"),
        ] {
            assert_eq!(MaxBody::try_from(bytes).unwrap().describe(), described);
        }
        for bytes in [0, LARGEST + 1, u64::MAX] {
            assert_eq!(MaxBody::try_from(bytes), Err(InvalidMaxBodyError), "{bytes}");
        }
    }
}
