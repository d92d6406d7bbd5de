//! File descriptors: as many as the system allows, and a part of them that clients cannot take.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

/// The descriptors for what is neither a client nor its backend: listeners, runtimes, the feed, files.
const RESERVE: u64 = 64;

/// Raises the limit on open files as far as this process may; returns the limit.
pub(crate) fn raise_limit() -> u64 {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(hard)
    });
    raised.unwrap_or_else(|error| {
        warn!(%error, "cannot raise the limit on open files");
        limit()
    })
}

/// Returns the number of clients that can be served at once, each with one more descriptor for its backend.
#[must_use]
pub fn max_clients() -> usize {
    clients(limit())
}

fn limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft)
}

fn clients(limit: u64) -> usize {
    let most = limit.saturating_sub(RESERVE) / 2;
    usize::try_from(most).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_leaves_a_descriptor_for_its_backend() {
        assert_eq!(clients(256), 96);
        assert_eq!(clients(1024), 480);
        assert_eq!(clients(16), 1);
        assert_eq!(clients(u64::MAX), usize::try_from((u64::MAX - 64) / 2).unwrap());
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let raised = raise_limit();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (raised, raised));
    }
}
