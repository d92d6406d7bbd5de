//! The backlog: bytes of responses that were read from backends and not yet taken by the clients.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Waker};

use bytes::{Buf, Bytes};

use crate::config::HELD_BYTES;

/// The backlog of one response, in bytes, from which on nothing more is read.
const READ_AHEAD: usize = 8 * 1024;

/// The backlog of all responses of a worker, in bytes.
#[derive(Debug, Default)]
pub(crate) struct WorkerBacklog(Cell<usize>);

/// The backlog of one response.
pub(crate) struct ResponseBacklog {
    bytes: Cell<usize>,
    worker: Rc<WorkerBacklog>,
    waiting: Cell<Option<Waker>>,
}

/// A part of a response body. It counts towards the backlog until it is dropped.
#[derive(Debug)]
pub(crate) struct ResponseChunk {
    bytes: Bytes,
    _guard: Option<ChunkGuard>,
}

/// The share of a chunk in the backlog.
#[derive(Debug)]
struct ChunkGuard {
    backlog: Rc<ResponseBacklog>,
    bytes: usize,
}

impl WorkerBacklog {
    /// Returns whether the backlog exceeds [`HELD_BYTES`]. Reads are small then.
    #[must_use]
    pub(crate) fn is_over_limit(&self) -> bool {
        self.0.get() > HELD_BYTES
    }

    /// Replaces `before` counted bytes by `after`.
    pub(crate) fn replace(&self, before: usize, after: usize) {
        self.0.set(self.0.get().saturating_sub(before).saturating_add(after));
    }
}

impl ResponseBacklog {
    /// Creates an empty backlog that is a part of the one of `worker`.
    #[must_use]
    pub(crate) fn new(worker: &Rc<WorkerBacklog>) -> Rc<Self> {
        Rc::new(Self { bytes: Cell::new(0), worker: Rc::clone(worker), waiting: Cell::new(None) })
    }

    /// Returns whether nothing more is to be read for now.
    #[must_use]
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.get() >= READ_AHEAD
    }

    /// Registers the task to be woken when the backlog is no longer full, or by [`ResponseBacklog::wake`].
    pub(crate) fn wait(&self, cx: &Context<'_>) {
        self.waiting.set(Some(cx.waker().clone()));
    }

    /// Wakes the task that waits, if one does.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Counts `bytes` until the returned chunk is dropped.
    pub(crate) fn track(self: &Rc<Self>, bytes: Bytes) -> ResponseChunk {
        let count = bytes.len();
        self.bytes.set(self.bytes.get() + count);
        self.worker.replace(0, count);
        ResponseChunk { bytes, _guard: Some(ChunkGuard { backlog: Rc::clone(self), bytes: count }) }
    }
}

impl Drop for ChunkGuard {
    fn drop(&mut self) {
        let Self { backlog, bytes } = self;
        backlog.bytes.set(backlog.bytes.get().saturating_sub(*bytes));
        backlog.worker.replace(*bytes, 0);
        if !backlog.is_full() {
            backlog.wake();
        }
    }
}

impl From<Bytes> for ResponseChunk {
    /// Creates a chunk that does not count towards a backlog.
    fn from(bytes: Bytes) -> Self {
        Self { bytes, _guard: None }
    }
}

impl Buf for ResponseChunk {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

impl fmt::Debug for ResponseBacklog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ResponseBacklog").field(&self.bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_count_until_they_are_dropped() {
        let worker = Rc::new(WorkerBacklog::default());
        let (one, two) = (ResponseBacklog::new(&worker), ResponseBacklog::new(&worker));
        let small = one.track(Bytes::from_static(b"small"));
        assert!(!one.is_full() && !two.is_full());
        let large = one.track(vec![7; READ_AHEAD].into());
        assert!(one.is_full() && !two.is_full(), "each response has a backlog of its own");
        assert_eq!(worker.0.get(), READ_AHEAD + 5);
        drop(large);
        assert!(!one.is_full());
        drop(small);
        assert_eq!(worker.0.get(), 0);
    }

    #[test]
    fn the_limit_of_a_worker_covers_responses_and_connections() {
        let worker = Rc::new(WorkerBacklog::default());
        let response = ResponseBacklog::new(&worker);
        worker.replace(0, HELD_BYTES);
        assert!(!worker.is_over_limit());
        let chunk = response.track(Bytes::from_static(b"x"));
        assert!(worker.is_over_limit());
        drop(chunk);
        assert!(!worker.is_over_limit());
    }
}
