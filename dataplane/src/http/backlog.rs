//! The bytes of responses that were read and that their clients have not taken yet.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Waker};

use bytes::{Buf, Bytes};

use crate::config::HELD_BYTES;

/// The bytes of one response that are read ahead of what the client takes, before the next read.
const READ_AHEAD: usize = 8 * 1024;

/// The bytes that a worker holds for its clients.
#[derive(Debug, Default)]
pub(crate) struct WorkerBacklog(Cell<usize>);

/// The bytes of one response that are held for its client.
pub(crate) struct ResponseBacklog {
    bytes: Cell<usize>,
    worker: Rc<WorkerBacklog>,
    waiting: Cell<Option<Waker>>,
}

/// A part of a response. It counts as held until it is dropped.
#[derive(Debug)]
pub(crate) struct ResponseChunk {
    bytes: Bytes,
    _counted: Option<ChunkGuard>,
}

#[derive(Debug)]
struct ChunkGuard {
    by: Rc<ResponseBacklog>,
    bytes: usize,
}

impl WorkerBacklog {
    /// Returns whether they are too many: then little is read at a time.
    #[must_use]
    pub(crate) fn is_over_limit(&self) -> bool {
        self.0.get() > HELD_BYTES
    }

    /// Counts `after` bytes where `before` were counted.
    pub(crate) fn replace(&self, before: usize, after: usize) {
        self.0.set(self.0.get().saturating_sub(before).saturating_add(after));
    }
}

impl ResponseBacklog {
    /// Holds nothing yet; what it will hold is counted by `worker`.
    #[must_use]
    pub(crate) fn new(worker: &Rc<WorkerBacklog>) -> Rc<Self> {
        Rc::new(Self { bytes: Cell::new(0), worker: Rc::clone(worker), waiting: Cell::new(None) })
    }

    /// Returns whether enough is read ahead.
    #[must_use]
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.get() >= READ_AHEAD
    }

    /// Has the task woken once less is held, or by [`ResponseBacklog::wake`].
    pub(crate) fn wait(&self, cx: &Context<'_>) {
        self.waiting.set(Some(cx.waker().clone()));
    }

    /// Wakes the task that waits.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Counts `bytes` until the chunk that is returned is dropped.
    pub(crate) fn track(self: &Rc<Self>, bytes: Bytes) -> ResponseChunk {
        let count = bytes.len();
        self.bytes.set(self.bytes.get() + count);
        self.worker.replace(0, count);
        ResponseChunk { bytes, _counted: Some(ChunkGuard { by: Rc::clone(self), bytes: count }) }
    }
}

impl Drop for ChunkGuard {
    fn drop(&mut self) {
        let Self { by, bytes } = self;
        by.bytes.set(by.bytes.get().saturating_sub(*bytes));
        by.worker.replace(*bytes, 0);
        if !by.is_full() {
            by.wake();
        }
    }
}

impl From<Bytes> for ResponseChunk {
    /// Makes a chunk that is not counted.
    fn from(bytes: Bytes) -> Self {
        Self { bytes, _counted: None }
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
