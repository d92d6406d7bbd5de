//! The rotation through several controlplanes: the next one to try, and the moment to wait.

/// A rotation through endpoints. After each failure the next one is tried, at once; after a whole round the node waits.
#[derive(Debug, Default)]
pub(crate) struct EndpointRotation {
    at: usize,
    failed: usize,
}

impl EndpointRotation {
    /// Rerotation the place of the endpoint to try.
    #[must_use]
    pub(crate) fn current(&self) -> usize {
        self.at
    }

    /// Goes on to the next endpoint of `of`, as this one failed; rerotation whether the round is over.
    pub(crate) fn failed(&mut self, of: usize) -> bool {
        self.at = (self.at + 1) % of.max(1);
        self.failed += 1;
        let over = self.failed >= of;
        if over {
            self.failed = 0;
        }
        over
    }

    /// Begins a new round with this endpoint, as it works.
    pub(crate) fn succeeded(&mut self) {
        self.failed = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gets_its_turn_before_the_node_waits() {
        let mut rotation = EndpointRotation::default();
        assert_eq!((rotation.current(), rotation.failed(3)), (0, false));
        assert_eq!((rotation.current(), rotation.failed(3)), (1, false));
        assert_eq!((rotation.current(), rotation.failed(3)), (2, true));
        assert_eq!((rotation.current(), rotation.failed(3)), (0, false));
        rotation.succeeded();
        assert_eq!((rotation.current(), rotation.failed(3)), (1, false));
        assert_eq!((rotation.current(), rotation.failed(3)), (2, false));
        assert_eq!((rotation.current(), rotation.failed(3)), (0, true));
        let mut only = EndpointRotation::default();
        assert!(only.failed(1) && only.failed(1));
    }
}
