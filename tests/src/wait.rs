//! Polling for a condition, instead of sleeping.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

const PAUSE: Duration = Duration::from_millis(5);

/// Calls `probe` until it succeeds; after `within`, returns its last error.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        match probe().await {
            Ok(found) => return Ok(found),
            Err(error) if Instant::now() >= deadline => {
                return Err(error).with_context(|| format!("{what}: still not after {within:?}"));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
