//! The connections that are passed through just now, known by their ClientHello: one that comes back is not passed on.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// The connections of one worker with the same ClientHello at most. A hello has 32 random bytes, so that a client never
/// sends the same twice; but tools that replay one do, and a connection that goes in circles does without end.
const MAX_SAME_HELLO: u32 = 4;
/// The bytes of a hello that it is known by; its random bytes are among them in records of any size.
const FINGERPRINT_BYTES: usize = 256;

/// The connections of one worker that are passed through.
///
/// Two gateways whose routes lead to each other send a connection round: each worker passes it on a few times, then one
/// of them refuses it and the circle collapses. The bytes cannot be marked as requests are by CDN-Loop.
#[derive(Debug, Default)]
pub(crate) struct LoopDetector {
    hasher: RandomState,
    open_by_hello: RefCell<HashMap<u64, u32>>,
}

/// One connection that is passed through; it ends when dropped.
#[derive(Debug)]
pub(crate) struct LoopGuard<'a> {
    detector: &'a LoopDetector,
    hello: u64,
}

impl LoopDetector {
    /// Begins to pass on the connection that `hello` opens, unless too many like it are passed already.
    pub(crate) fn admit(&self, hello: &[u8]) -> Option<LoopGuard<'_>> {
        let hello = self.hasher.hash_one(hello.get(..FINGERPRINT_BYTES).unwrap_or(hello));
        let mut open_by_hello = self.open_by_hello.borrow_mut();
        let count = open_by_hello.entry(hello).or_default();
        if *count >= MAX_SAME_HELLO {
            return None;
        }
        *count += 1;
        Some(LoopGuard { detector: self, hello })
    }
}

impl Drop for LoopGuard<'_> {
    fn drop(&mut self) {
        let mut open_by_hello = self.detector.open_by_hello.borrow_mut();
        if let Some(count) = open_by_hello.get_mut(&self.hello) {
            *count -= 1;
            if *count == 0 {
                open_by_hello.remove(&self.hello);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_again_and_again_is_refused_and_nothing_else_is() {
        let detector = LoopDetector::default();
        let long = [7; 2 * FINGERPRINT_BYTES];
        for hello in [&b"one"[..], b"another", &long] {
            let passed: Vec<_> = (0..MAX_SAME_HELLO).map(|_| detector.admit(hello).unwrap()).collect();
            assert!(detector.admit(hello).is_none());
            assert!(detector.admit(b"third").is_some());
            drop(passed);
            assert!(detector.admit(hello).is_some());
        }
        assert!(detector.open_by_hello.borrow().is_empty());
    }
}
