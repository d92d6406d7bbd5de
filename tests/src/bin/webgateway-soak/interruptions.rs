//! The interruptions of the controlplane, shared with its callers.

use std::cell::Cell;
use std::rc::Rc;

/// A counter of interruptions of the controlplane, shared by clones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interruptions(Rc<Cell<u64>>);

impl Interruptions {
    /// Returns the number of stops and starts; the controlplane is down while this is odd.
    pub(crate) fn count(&self) -> u64 {
        self.0.get()
    }

    /// Returns true while the controlplane is down.
    pub(crate) fn is_away(&self) -> bool {
        !self.0.get().is_multiple_of(2)
    }

    /// Counts one stop or start.
    pub(crate) fn add(&self) {
        self.0.set(self.0.get() + 1);
    }
}
