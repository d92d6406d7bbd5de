//! A bounded queue of log lines and its writer, so that logging neither blocks nor fails.
//!
//! tracing-appender (0.2.5) bounds lines instead of bytes, does not count failed writes, and at its end prints to the
//! stderr that may be stalled or closed.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tracing::warn;

/// The pause before a retry if stderr is non-blocking, which another process that shares it may have set.
const RETRY: Duration = Duration::from_millis(20);

/// A queue of complete lines, bounded in bytes. Excess lines are dropped and counted. Clones share the queue.
#[derive(Debug, Clone)]
pub(super) struct LogQueue {
    shared: Arc<Shared>,
    dropped: Counter,
}

#[derive(Debug)]
struct Shared {
    capacity: usize,
    state: Mutex<State>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    is_writing: bool,
}

impl LogQueue {
    /// Makes a queue of at most `capacity` bytes; as many again may be in the batch being written. Dropped lines are
    /// counted in `dropped`.
    pub(super) fn new(capacity: usize, dropped: Counter) -> Self {
        let (filled, emptied) = (Condvar::new(), Condvar::new());
        let shared = Shared { capacity, state: Mutex::default(), filled, emptied };
        Self { shared: Arc::new(shared), dropped }
    }

    /// Adds a line, or drops it if the queue is full. Never waits for the writer.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.state();
        if state.waiting.len() + line.len() > self.shared.capacity {
            drop(state);
            self.dropped.inc();
            return;
        }
        state.waiting.extend_from_slice(line);
        drop(state);
        self.shared.filled.notify_one();
    }

    /// Waits until every line is written or dropped, for at most `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let busy = |state: &mut State| state.is_writing || !state.waiting.is_empty();
        let waited = self.shared.emptied.wait_timeout_while(self.state(), limit, busy);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Writes lines to `out` forever. Lines that cannot be written are dropped; the next successful write is followed
    /// by a warning with the number of dropped lines.
    pub(super) fn write_to(&self, mut out: impl Write) {
        let (mut batch, mut reported) = (Vec::new(), self.dropped.get());
        loop {
            self.take(&mut batch);
            let is_written = self.write(&mut out, &batch);
            batch.clear();
            let dropped = self.dropped.get();
            if is_written && dropped > reported {
                warn!(lines = dropped - reported, "log lines dropped");
                reported = dropped;
            }
        }
    }

    /// Waits for lines and moves them into `batch`, which must be empty.
    fn take(&self, batch: &mut Vec<u8>) {
        let mut state = self.state();
        state.is_writing = false;
        if state.waiting.is_empty() {
            self.shared.emptied.notify_all();
        }
        let none = |state: &mut State| state.waiting.is_empty();
        let state = self.shared.filled.wait_while(state, none);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut state.waiting, batch);
        state.is_writing = true;
    }

    /// Writes a batch and returns whether all of it was written.
    fn write(&self, out: &mut impl Write, batch: &[u8]) -> bool {
        let mut left = batch;
        while !left.is_empty() {
            match out.write(left) {
                Ok(written @ 1..) => left = left.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(RETRY),
                Ok(0) | Err(_) => {
                    let lines = left.iter().filter(|byte| **byte == b'\n').count();
                    self.dropped.inc_by(lines as u64);
                    return false;
                }
            }
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn queue(capacity: usize) -> LogQueue {
        LogQueue::new(capacity, Counter::default())
    }

    fn start(queue: &LogQueue, out: impl Write + Send + 'static) {
        let queue = queue.clone();
        thread::spawn(move || queue.write_to(out));
    }

    /// A writer that always fails with this error.
    struct FailingWriter(io::ErrorKind);

    impl Write for FailingWriter {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_written_in_order() {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let queue = queue(1 << 16);
        start(&queue, writer);
        let expected: String = (0..1000).map(|n| format!("line {n}\n")).collect();
        expected.split_inclusive('\n').for_each(|line| queue.push(line.as_bytes()));
        queue.flush(LIMIT);
        let mut text = vec![0; expected.len()];
        reader.read_exact(&mut text).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), expected);
        assert_eq!(queue.dropped.get(), 0);
    }

    #[test]
    fn lines_of_failed_writes_are_counted_as_dropped() {
        for kind in [io::ErrorKind::BrokenPipe, io::ErrorKind::StorageFull, io::ErrorKind::WriteZero] {
            let queue = queue(1 << 16);
            start(&queue, FailingWriter(kind));
            (0..3).for_each(|_| queue.push(b"line\n"));
            queue.flush(LIMIT);
            assert_eq!(queue.dropped.get(), 3, "{kind}");
        }
    }

    #[test]
    fn a_stalled_reader_does_not_block_logging_and_memory_stays_bounded() {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        let queue = queue(4096);
        start(&queue, writer);
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        while queue.dropped.get() < 10 {
            queue.push(&line);
        }
        assert!(queue.state().waiting.len() <= 4096);
        queue.flush(Duration::from_millis(1));
        let mut text = vec![0; 4 * line.len()];
        reader.read_exact(&mut text).unwrap();
        assert_eq!(text, line.repeat(4), "the first lines are whole");
    }

    #[test]
    fn a_line_without_room_is_dropped_completely() {
        let queue = queue(8);
        queue.push(b"longer than that\n");
        queue.push(b"short\n");
        assert_eq!((queue.state().waiting.as_slice(), queue.dropped.get()), (b"short\n".as_slice(), 1));
    }
}
