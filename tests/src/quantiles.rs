//! Quantiles of measured durations.

use std::time::Duration;

/// Returns the median, the 99th percentile and the maximum as text, in milliseconds.
#[must_use]
pub fn quantiles(times: &[Duration]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = |per_cent: usize| sorted.get((sorted.len() * per_cent / 100).min(sorted.len() - 1)).copied();
    if sorted.is_empty() {
        return "-".to_owned();
    }
    let [p50, p99, max] = [50, 99, 100].map(|p| millis(at(p).unwrap_or_default()));
    format!("{p50:.1} / {p99:.1} / {max:.1} ms")
}

/// Returns a duration in milliseconds.
#[must_use]
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
