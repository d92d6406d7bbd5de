//! The absences of the controlplane, for those who call it.

use std::cell::Cell;
use std::rc::Rc;

/// The absences of the controlplane so far. Clones count the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interruptions(Rc<Cell<u64>>);

impl Interruptions {
    /// The number of times it went or came; it is away while that is odd.
    pub(crate) fn count(&self) -> u64 {
        self.0.get()
    }

    /// Is true while it is away.
    pub(crate) fn is_away(&self) -> bool {
        !self.0.get().is_multiple_of(2)
    }

    /// Counts one more.
    pub(crate) fn add(&self) {
        self.0.set(self.0.get() + 1);
    }
}
