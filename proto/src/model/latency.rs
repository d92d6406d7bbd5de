//! A histogram of latencies with logarithmic buckets: few numbers, which can be added up, and a bounded error.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The octave of the first bucket above the lowest one: that bucket begins at 64 µs.
const FIRST_OCTAVE: u32 = 6;
/// The octave of the last bucket, which ends at 134 s.
const LAST_OCTAVE: u32 = 26;
/// The binary logarithm of the number of buckets per octave.
const SPLIT_BITS: u32 = 2;

/// The number of buckets: one below 64 µs, then four per doubling up to 134 s.
pub const LATENCY_BUCKETS: usize = 1 + (((LAST_OCTAVE - FIRST_OCTAVE + 1) as usize) << SPLIT_BITS);

/// The numbers of latencies, by bucket. Empty buckets are left out. A quantile is wrong by at most a quarter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Latencies(BTreeMap<u8, u64>);

/// Returns the bucket of a latency, less than [`LATENCY_BUCKETS`].
#[must_use]
pub fn latency_bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let octave = micros.max(1).ilog2();
    if octave < FIRST_OCTAVE {
        return 0;
    }
    if octave > LAST_OCTAVE {
        return LATENCY_BUCKETS - 1;
    }
    let part = (micros >> (octave - SPLIT_BITS)) as usize & ((1 << SPLIT_BITS) - 1);
    1 + (((octave - FIRST_OCTAVE) as usize) << SPLIT_BITS) + part
}

/// Returns the bounds of a bucket, in microseconds.
fn bounds(bucket: u8) -> (u64, u64) {
    let Some(above) = u32::from(bucket).checked_sub(1) else { return (0, 1 << FIRST_OCTAVE) };
    let (octave, part) = (FIRST_OCTAVE + (above >> SPLIT_BITS), u64::from(above) & ((1 << SPLIT_BITS) - 1));
    let width = 1 << (octave - SPLIT_BITS);
    let start = (1 << octave) + part * width;
    (start, start + width)
}

impl Latencies {
    /// Counts `count` latencies of a bucket. A bucket that does not exist is ignored.
    pub fn add_to_bucket(&mut self, bucket: usize, count: u64) {
        if let Ok(bucket) = u8::try_from(bucket)
            && usize::from(bucket) < LATENCY_BUCKETS
            && count > 0
        {
            let total = self.0.entry(bucket).or_default();
            *total = total.saturating_add(count);
        }
    }

    /// Adds the latencies of another histogram.
    pub fn add(&mut self, other: &Self) {
        other.buckets().for_each(|(bucket, count)| self.add_to_bucket(bucket.into(), count));
    }

    /// Returns the buckets that are not empty, with their counts, from the shortest latency to the longest.
    pub fn buckets(&self) -> impl Iterator<Item = (u8, u64)> + '_ {
        self.0.iter().map(|(bucket, count)| (*bucket, *count))
    }

    /// Returns the latency below which the share `quantile` (0 to 1) of all is, interpolated within its bucket; `None`
    /// if there is no latency.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate"
    )]
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let total = self.0.values().fold(0u64, |sum, count| sum.saturating_add(*count));
        let rank = (total as f64 * quantile.clamp(0.0, 1.0)).max(1.0);
        let mut before = 0.0;
        for (bucket, count) in self.buckets() {
            let after = before + count as f64;
            if after >= rank {
                let (start, end) = bounds(bucket);
                let share = (rank - before) / count as f64;
                let micros = start as f64 + (end - start) as f64 * share;
                return Some(Duration::from_micros(micros as u64));
            }
            before = after;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn histogram(micros: &[u64]) -> Latencies {
        let mut latencies = Latencies::default();
        for micros in micros {
            latencies.add_to_bucket(latency_bucket(Duration::from_micros(*micros)), 1);
        }
        latencies
    }

    #[test]
    fn every_latency_is_within_the_bounds_of_its_bucket() {
        let mut last = 0;
        for micros in (0..200_000).chain((200_000..140_000_000).step_by(9973)) {
            let bucket = latency_bucket(Duration::from_micros(micros));
            let (start, end) = bounds(u8::try_from(bucket).unwrap());
            assert!(bucket >= last && bucket < LATENCY_BUCKETS);
            assert!(start <= micros, "{micros} in {start}..{end}");
            assert!(micros < end || bucket == LATENCY_BUCKETS - 1, "{micros} in {start}..{end}");
            assert!(bucket == 0 || end - start <= start / 4 + 1, "{start}..{end} is narrow");
            last = bucket;
        }
        assert_eq!(latency_bucket(Duration::MAX), LATENCY_BUCKETS - 1);
    }

    #[test]
    fn an_empty_histogram_has_no_quantile() {
        assert_eq!(Latencies::default().quantile(0.5), None);
        let mut latencies = Latencies::default();
        latencies.add_to_bucket(LATENCY_BUCKETS, 1);
        latencies.add_to_bucket(3, 0);
        assert_eq!(latencies, Latencies::default(), "there is no such bucket, and no count");
    }

    proptest! {
        #[test]
        fn quantiles_are_ordered_and_close(mut micros in prop::collection::vec(64u64..100_000_000, 1..200)) {
            let latencies = histogram(&micros);
            micros.sort_unstable();
            let quantiles = [0.0, 0.5, 0.9, 0.99, 1.0].map(|q| latencies.quantile(q).unwrap().as_micros());
            prop_assert!(quantiles.is_sorted(), "{quantiles:?}");
            let median = u128::from(micros[(micros.len() - 1) / 2]);
            prop_assert!(quantiles[1] * 5 >= median * 3 && quantiles[1] * 3 <= u128::from(micros[micros.len() / 2]) * 4 + 3);
        }

        #[test]
        fn histograms_add_up(one in prop::collection::vec(any::<u64>(), 0..50), two in prop::collection::vec(any::<u64>(), 0..50)) {
            let mut sum = histogram(&one);
            sum.add(&histogram(&two));
            prop_assert_eq!(sum, histogram(&[one, two].concat()));
        }
    }
}
