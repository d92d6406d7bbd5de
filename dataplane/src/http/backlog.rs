//! The backlog: bytes of responses that were read from backends and not yet taken by the clients.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Waker};

use bytes::{Buf, Bytes};
use prometheus_client::metrics::counter::Counter;
use tracing::debug;

use super::stalled::{StallQueue, Ticket};

/// The backlog of one response, in bytes, from which on nothing more is read.
const READ_AHEAD: usize = 8 * 1024;

/// The backlog of all responses of a worker, in bytes.
///
/// It has a limit. Beyond that, reads are small, and with every byte that comes the responses that wait longest for
/// their clients are cut, until the backlog is within the limit again.
#[derive(Debug)]
pub(crate) struct WorkerBacklog {
    bytes: Cell<usize>,
    limit: Cell<usize>,
    stalled: StallQueue<ResponseBacklog>,
    /// The number of responses that were cut.
    cuts: Counter,
}

/// The part of the backlog that waits in the output of one connection.
#[derive(Debug)]
pub(crate) struct OutputBacklog {
    bytes: Cell<usize>,
    is_cut: Cell<bool>,
    worker: Rc<WorkerBacklog>,
}

/// The backlog of one response.
pub(crate) struct ResponseBacklog {
    bytes: Cell<usize>,
    output: Rc<OutputBacklog>,
    waiting: Cell<Option<Waker>>,
    ticket: Ticket,
    is_cut: Cell<bool>,
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
    /// Creates an empty backlog with a limit in bytes. `cuts` counts the responses that are cut.
    #[must_use]
    pub(crate) fn new(limit: usize, cuts: Counter) -> Rc<Self> {
        Rc::new(Self { bytes: Cell::new(0), limit: Cell::new(limit), stalled: StallQueue::default(), cuts })
    }

    /// Changes the limit, in bytes.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.set(limit);
    }

    /// Returns whether the backlog exceeds its limit. Reads are small then.
    #[must_use]
    pub(crate) fn is_over_limit(&self) -> bool {
        self.bytes.get() > self.limit.get()
    }

    fn add(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().saturating_add(bytes));
        while self.is_over_limit() {
            let Some(longest) = self.stalled.take_longest(|response| &response.ticket) else { break };
            debug!("response cut: its client does not read, and the backlog is over its limit");
            self.cuts.inc();
            longest.cut();
        }
    }

    fn remove(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().saturating_sub(bytes));
    }
}

impl OutputBacklog {
    /// Creates the backlog of a connection without output.
    #[must_use]
    pub(crate) fn new(worker: Rc<WorkerBacklog>) -> Rc<Self> {
        Rc::new(Self { bytes: Cell::new(0), is_cut: Cell::new(false), worker })
    }

    /// Returns the backlog of the worker.
    #[must_use]
    pub(crate) fn worker(&self) -> &WorkerBacklog {
        &self.worker
    }

    /// Records the number of bytes that the client does not take.
    pub(crate) fn update(&self, bytes: usize) {
        if self.is_cut.get() {
            return;
        }
        let before = self.bytes.replace(bytes);
        if bytes > before {
            self.worker.add(bytes - before);
        } else {
            self.worker.remove(before - bytes);
        }
    }

    /// Returns whether the connection has to end, because its client stalls and the worker's backlog is over its limit.
    #[must_use]
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.get()
    }
}

impl Drop for OutputBacklog {
    fn drop(&mut self) {
        self.worker.remove(self.bytes.get());
    }
}

impl ResponseBacklog {
    /// Creates an empty backlog for a response on the connection of `output`.
    #[must_use]
    pub(crate) fn new(output: &Rc<OutputBacklog>) -> Rc<Self> {
        Rc::new(Self {
            bytes: Cell::new(0),
            output: Rc::clone(output),
            waiting: Cell::new(None),
            ticket: Ticket::default(),
            is_cut: Cell::new(false),
        })
    }

    /// Returns whether nothing more is to be read for now.
    #[must_use]
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.get() >= READ_AHEAD
    }

    /// Returns whether the response has to end, because its client stalls and the worker's backlog is over its limit.
    #[must_use]
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.get()
    }

    /// Registers the task to be woken when the backlog is no longer full, by [`ResponseBacklog::wake`], or when the
    /// response is cut.
    pub(crate) fn wait(self: &Rc<Self>, cx: &Context<'_>) {
        if self.waiting.replace(Some(cx.waker().clone())).is_none() {
            self.output.worker.stalled.enter(self, |response| &response.ticket);
        }
    }

    /// Wakes the task that waits, if one does.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.stop_waiting() {
            waker.wake();
        }
    }

    /// Ends the wait, and returns its waker.
    pub(crate) fn stop_waiting(&self) -> Option<Waker> {
        self.ticket.leave();
        self.waiting.take()
    }

    /// Counts `bytes` until the returned chunk is dropped.
    pub(crate) fn track(self: &Rc<Self>, bytes: Bytes) -> ResponseChunk {
        let count = bytes.len();
        self.bytes.set(self.bytes.get() + count);
        self.output.worker.add(count);
        ResponseChunk { bytes, _guard: Some(ChunkGuard { backlog: Rc::clone(self), bytes: count }) }
    }

    /// Ends the response, and its connection if that has output which the client does not take. Their bytes are about
    /// to be released and no longer count.
    fn cut(&self) {
        self.is_cut.set(true);
        self.output.worker.remove(self.bytes.get());
        let output = self.output.bytes.replace(0);
        if output > 0 {
            self.output.is_cut.set(true);
            self.output.worker.remove(output);
        }
        self.wake();
    }
}

impl Drop for ResponseBacklog {
    fn drop(&mut self) {
        self.output.worker.stalled.forget(&self.ticket);
    }
}

impl Drop for ChunkGuard {
    fn drop(&mut self) {
        let Self { backlog, bytes } = self;
        backlog.bytes.set(backlog.bytes.get().saturating_sub(*bytes));
        if backlog.is_cut.get() {
            return;
        }
        backlog.output.worker.remove(*bytes);
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

    const LIMIT: usize = 10 * READ_AHEAD;

    fn response(worker: &Rc<WorkerBacklog>) -> (Rc<OutputBacklog>, Rc<ResponseBacklog>) {
        let output = OutputBacklog::new(Rc::clone(worker));
        let response = ResponseBacklog::new(&output);
        (output, response)
    }

    fn wait(response: &Rc<ResponseBacklog>) {
        response.wait(&Context::from_waker(Waker::noop()));
    }

    #[test]
    fn chunks_count_until_they_are_dropped() {
        let worker = WorkerBacklog::new(LIMIT, Counter::default());
        let ((_, one), (_, two)) = (response(&worker), response(&worker));
        let small = one.track(Bytes::from_static(b"small"));
        assert!(!one.is_full() && !two.is_full());
        let large = one.track(vec![7; READ_AHEAD].into());
        assert!(one.is_full() && !two.is_full(), "each response has a backlog of its own");
        assert_eq!(worker.bytes.get(), READ_AHEAD + 5);
        drop(large);
        assert!(!one.is_full());
        drop(small);
        assert_eq!(worker.bytes.get(), 0);
    }

    #[test]
    fn the_limit_covers_responses_and_the_output_of_connections() {
        let worker = WorkerBacklog::new(LIMIT, Counter::default());
        let (output, response) = response(&worker);
        output.update(LIMIT);
        assert!(!worker.is_over_limit());
        let chunk = response.track(Bytes::from_static(b"x"));
        assert!(worker.is_over_limit() && !response.is_cut(), "nobody waits");
        drop(chunk);
        assert!(!worker.is_over_limit());
        drop((output, response));
        assert_eq!(worker.bytes.get(), 0);
    }

    #[test]
    fn beyond_the_limit_those_that_wait_longest_are_cut() {
        let worker = WorkerBacklog::new(LIMIT, Counter::default());
        let readers: Vec<_> = (0..5).map(|_| response(&worker)).collect();
        let mut chunks = Vec::new();
        for (output, response) in &readers {
            chunks.push(response.track(vec![7; READ_AHEAD].into()));
            output.update(READ_AHEAD);
            wait(response);
        }
        let cut = || -> Vec<bool> { readers.iter().map(|(_, response)| response.is_cut()).collect() };
        assert_eq!(cut(), [false; 5]);
        // The first one has read in between, so the second is the one that waits longest.
        readers[0].0.update(0);
        readers[0].1.wake();
        readers[0].0.update(READ_AHEAD);
        wait(&readers[0].1);
        let (_, new) = response(&worker);
        let one = new.track(Bytes::from_static(b"x"));
        assert_eq!(cut(), [false, true, false, false, false]);
        assert!(readers[1].0.is_cut() && !worker.is_over_limit());
        let more = new.track(vec![7; 2 * READ_AHEAD + 1].into());
        assert_eq!(cut(), [false, true, true, false, false]);
        assert!(!new.is_cut(), "it does not wait");
        drop((readers, chunks, one, more, new));
        assert_eq!(worker.bytes.get(), 0);
        assert!(worker.stalled.is_empty());
    }

    #[test]
    fn a_response_without_output_is_cut_alone() {
        let worker = WorkerBacklog::new(LIMIT, Counter::default());
        let (output, response) = response(&worker);
        let chunk = response.track(vec![7; READ_AHEAD].into());
        wait(&response);
        let neighbour = ResponseBacklog::new(&output);
        let large = neighbour.track(vec![7; LIMIT].into());
        assert!(response.is_cut() && !output.is_cut(), "the client's window is closed, but it reads");
        drop((chunk, large));
        assert_eq!(worker.bytes.get(), 0);
    }
}
