//! The place of a request's record, which may have none.

use std::cell::RefCell;

use super::record::TrafficRecord;

/// The record of a request, if the request has a route or if there is an access log.
#[derive(Debug, Default)]
pub(crate) struct RecordSlot(RefCell<Option<TrafficRecord>>);

impl RecordSlot {
    /// Changes the record, which begins if there is none.
    pub(crate) fn begin(&self, change: impl FnOnce(&mut TrafficRecord)) {
        change(self.0.borrow_mut().get_or_insert_with(TrafficRecord::request));
    }

    /// Notes something in the record, if there is one.
    pub(crate) fn note(&self, note: impl FnOnce(&TrafficRecord)) {
        if let Some(record) = &*self.0.borrow() {
            note(record);
        }
    }

    /// Returns the record, which continues elsewhere.
    pub(crate) fn take(&self) -> Option<TrafficRecord> {
        self.0.take()
    }
}
