//! Loop detection for passthrough: a connection that returns to this gateway is recognised by its ClientHello.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// The maximum number of open passthrough connections with the same ClientHello on one worker. A ClientHello has 32
/// random bytes, so clients do not send the same one twice; tools that replay a recorded one may, and a looping
/// connection does without end.
const MAX_SAME_HELLO: u32 = 4;
/// The number of bytes at the start of a ClientHello that identify it. They include its random bytes, whatever the size
/// of the records.
const FINGERPRINT_BYTES: usize = 256;

/// A detector of passthrough loops on one worker, by the ClientHellos of the open connections.
///
/// Two gateways whose routes point at each other forward a connection in a loop. Requests carry CDN-Loop, but TLS bytes
/// cannot be marked: each worker forwards the same ClientHello a few times, then one refuses it and the loop ends.
#[derive(Debug, Default)]
pub(crate) struct LoopDetector {
    hasher: RandomState,
    open_by_hello: RefCell<HashMap<u64, u32>>,
}

/// One open passthrough connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct LoopGuard<'a> {
    detector: &'a LoopDetector,
    hello: u64,
}

impl LoopDetector {
    /// Admits the connection that begins with `hello`; `None` if too many open ones begin with the same bytes.
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
    fn a_repeated_hello_is_refused_and_others_are_admitted() {
        let detector = LoopDetector::default();
        let long = [7; 2 * FINGERPRINT_BYTES];
        for hello in [&b"one"[..], b"another", &long] {
            let guards: Vec<_> = (0..MAX_SAME_HELLO).map(|_| detector.admit(hello).unwrap()).collect();
            assert!(detector.admit(hello).is_none());
            assert!(detector.admit(b"third").is_some());
            drop(guards);
            assert!(detector.admit(hello).is_some());
        }
        assert!(detector.open_by_hello.borrow().is_empty());
    }
}
