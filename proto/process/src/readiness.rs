//! The readiness of the process, which is ready while no part of it holds a named blocker.

use std::sync::{Arc, Mutex, PoisonError};

/// The readiness of the process, which is ready while it has no blocker. Clones share the state.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<Vec<&'static str>>>);

impl Readiness {
    /// Creates the state of a process without blockers, which is ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Blocks readiness until the blocker is dropped.
    #[must_use]
    pub fn block(&self, name: &'static str) -> Blocker {
        self.names().push(name);
        Blocker { readiness: self.clone(), name }
    }

    /// Returns whether there is no blocker.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.names().is_empty()
    }

    /// Returns the names of the blockers.
    #[must_use]
    pub fn blockers(&self) -> Vec<&'static str> {
        self.names().clone()
    }

    fn names(&self) -> std::sync::MutexGuard<'_, Vec<&'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A guard that blocks readiness until it is dropped.
#[derive(Debug)]
pub struct Blocker {
    readiness: Readiness,
    name: &'static str,
}

impl Drop for Blocker {
    fn drop(&mut self) {
        let mut names = self.readiness.names();
        if let Some(at) = names.iter().position(|name| *name == self.name) {
            names.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_the_last_blocker_is_gone() {
        let readiness = Readiness::new();
        let store = readiness.block("store");
        let feed = readiness.block("feed");
        drop(store);
        assert_eq!(readiness.blockers(), ["feed"]);
        drop(feed);
        assert!(readiness.is_ready());
    }
}
