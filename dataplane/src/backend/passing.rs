//! The connections that are passed through just now, known by their ClientHello: one that comes back is not passed on.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// The connections of one worker with the same ClientHello at most. A hello has 32 random bytes, so that a client never
/// sends the same twice; but tools that replay one do, and a connection that goes in circles does without end.
const MAX_ALIKE: u32 = 4;
/// The bytes of a hello that it is known by; its random bytes are among them in records of any size.
const KNOWN_BY: usize = 256;

/// The connections of one worker that are passed through.
///
/// Two gateways whose routes lead to each other send a connection round: each worker passes it on a few times, then one
/// of them refuses it and the circle collapses. The bytes cannot be marked as requests are by CDN-Loop.
#[derive(Debug, Default)]
pub(crate) struct Passing {
    hasher: RandomState,
    alike: RefCell<HashMap<u64, u32>>,
}

/// One connection that is passed through; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Passed<'a> {
    passing: &'a Passing,
    hello: u64,
}

impl Passing {
    /// Begins to pass on the connection that `hello` opens, unless too many like it are passed already.
    pub(crate) fn begin(&self, hello: &[u8]) -> Option<Passed<'_>> {
        let hello = self.hasher.hash_one(hello.get(..KNOWN_BY).unwrap_or(hello));
        let mut alike = self.alike.borrow_mut();
        let count = alike.entry(hello).or_default();
        if *count >= MAX_ALIKE {
            return None;
        }
        *count += 1;
        Some(Passed { passing: self, hello })
    }
}

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        let mut alike = self.passing.alike.borrow_mut();
        if let Some(count) = alike.get_mut(&self.hello) {
            *count -= 1;
            if *count == 0 {
                alike.remove(&self.hello);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_again_and_again_is_refused_and_nothing_else_is() {
        let passing = Passing::default();
        let long = [7; 2 * KNOWN_BY];
        for hello in [&b"one"[..], b"another", &long] {
            let passed: Vec<_> = (0..MAX_ALIKE).map(|_| passing.begin(hello).unwrap()).collect();
            assert!(passing.begin(hello).is_none());
            assert!(passing.begin(b"third").is_some());
            drop(passed);
            assert!(passing.begin(hello).is_some());
        }
        assert!(passing.alike.borrow().is_empty());
    }
}
