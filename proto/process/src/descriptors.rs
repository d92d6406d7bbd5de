//! The limit on open files, and the number of clients that it allows.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

/// The number of descriptors reserved for listeners, runtimes, the feed and files.
const RESERVE: u64 = 64;

/// Raises the soft limit on open files to the hard limit, and returns it.
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

/// Returns the maximum number of concurrent clients, each of which needs a second descriptor for its backend.
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
    fn every_client_has_a_second_descriptor_for_its_backend() {
        assert_eq!(clients(256), 96);
        assert_eq!(clients(1024), 480);
        assert_eq!(clients(16), 1);
        assert_eq!(clients(u64::MAX), usize::try_from((u64::MAX - 64) / 2).unwrap());
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_limit() {
        let raised = raise_limit();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (raised, raised));
    }
}
