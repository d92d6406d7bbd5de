//! Which of several controlplanes is tried next, and when the node waits.

/// Whose turn it is. After each failure the next one is tried, at once; after a whole round the node waits.
#[derive(Debug, Default)]
pub struct Turns {
    at: usize,
    failed: usize,
}

impl Turns {
    /// Whose turn it is.
    #[must_use]
    pub fn current(&self) -> usize {
        self.at
    }

    /// This one failed, of so many; says whether the round is over.
    pub fn failed(&mut self, of: usize) -> bool {
        self.at = (self.at + 1) % of.max(1);
        self.failed += 1;
        let over = self.failed >= of;
        if over {
            self.failed = 0;
        }
        over
    }

    /// This one works: a new round begins with it.
    pub fn succeeded(&mut self) {
        self.failed = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gets_its_turn_before_the_node_waits() {
        let mut turns = Turns::default();
        assert_eq!((turns.current(), turns.failed(3)), (0, false));
        assert_eq!((turns.current(), turns.failed(3)), (1, false));
        assert_eq!((turns.current(), turns.failed(3)), (2, true));
        assert_eq!((turns.current(), turns.failed(3)), (0, false));
        turns.succeeded();
        assert_eq!((turns.current(), turns.failed(3)), (1, false));
        assert_eq!((turns.current(), turns.failed(3)), (2, false));
        assert_eq!((turns.current(), turns.failed(3)), (0, true));
        let mut only = Turns::default();
        assert!(only.failed(1) && only.failed(1));
    }
}
