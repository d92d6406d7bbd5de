//! The queue of those that wait, by the time they have waited.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

/// A queue of everything of type `T` that waits. It is cheap to enter and leave many times: a place in the queue is
/// kept meanwhile, and corrected when it is looked at.
#[derive(Debug)]
pub(crate) struct StallQueue<T> {
    places: RefCell<BTreeMap<u64, Place<T>>>,
    next: Cell<u64>,
}

/// A place in the queue.
#[derive(Debug)]
struct Place<T> {
    item: Weak<T>,
    /// The wait that the place was taken for.
    wait: u64,
}

/// The state of an item in its queue.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    place: Cell<Option<u64>>,
    /// The number of waits so far.
    waits: Cell<u64>,
    is_waiting: Cell<bool>,
}

impl<T> Default for StallQueue<T> {
    fn default() -> Self {
        Self { places: RefCell::default(), next: Cell::new(0) }
    }
}

impl<T> StallQueue<T> {
    /// Begins a wait of `item`.
    pub(crate) fn enter(&self, item: &Rc<T>, ticket: impl Fn(&T) -> &Ticket) {
        let ticket = ticket(item);
        ticket.waits.set(ticket.waits.get() + 1);
        ticket.is_waiting.set(true);
        if ticket.place.get().is_none() {
            self.append(Rc::downgrade(item), ticket);
        }
    }

    /// Removes an item that is dropped.
    pub(crate) fn forget(&self, ticket: &Ticket) {
        if let Some(place) = ticket.place.take() {
            self.places.borrow_mut().remove(&place);
        }
    }

    /// Takes the item that has waited longest without a break out of the queue.
    pub(crate) fn take_longest(&self, ticket: impl Fn(&T) -> &Ticket) -> Option<Rc<T>> {
        // An item moves to the end at most once: its place is right then.
        loop {
            let (_, Place { item, wait }) = self.places.borrow_mut().pop_first()?;
            let Some(item) = item.upgrade() else { continue };
            let ticket = ticket(&item);
            ticket.place.set(None);
            if ticket.is_waiting.get() && ticket.waits.get() == wait {
                return Some(item);
            }
            if ticket.is_waiting.get() {
                self.append(Rc::downgrade(&item), ticket);
            }
        }
    }

    /// Returns whether the queue has no places.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.places.borrow().is_empty()
    }

    fn append(&self, item: Weak<T>, ticket: &Ticket) {
        let place = self.next.replace(self.next.get() + 1);
        ticket.place.set(Some(place));
        self.places.borrow_mut().insert(place, Place { item, wait: ticket.waits.get() });
    }
}

impl Ticket {
    /// Ends the current wait.
    pub(crate) fn leave(&self) {
        self.is_waiting.set(false);
    }
}
