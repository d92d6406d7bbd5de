//! The rotation through the endpoints of several controlplanes.

/// A rotation through endpoints. After a failure the next endpoint is tried at once; after a round in which all of them
/// failed, the node backs off.
#[derive(Debug, Default)]
pub(crate) struct EndpointRotation {
    index: usize,
    failures: usize,
}

impl EndpointRotation {
    /// Returns the index of the endpoint to try.
    #[must_use]
    pub(crate) fn current(&self) -> usize {
        self.index
    }

    /// Moves on to the next of `count` endpoints, as this one failed; returns whether all of them have failed in a row.
    pub(crate) fn record_failure(&mut self, count: usize) -> bool {
        self.index = (self.index + 1) % count.max(1);
        self.failures += 1;
        let all_failed = self.failures >= count;
        if all_failed {
            self.failures = 0;
        }
        all_failed
    }

    /// Starts a new round at this endpoint, as it works.
    pub(crate) fn record_success(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_is_tried_once_before_the_node_backs_off() {
        let mut rotation = EndpointRotation::default();
        assert_eq!((rotation.current(), rotation.record_failure(3)), (0, false));
        assert_eq!((rotation.current(), rotation.record_failure(3)), (1, false));
        assert_eq!((rotation.current(), rotation.record_failure(3)), (2, true));
        assert_eq!((rotation.current(), rotation.record_failure(3)), (0, false));
        rotation.record_success();
        assert_eq!((rotation.current(), rotation.record_failure(3)), (1, false));
        assert_eq!((rotation.current(), rotation.record_failure(3)), (2, false));
        assert_eq!((rotation.current(), rotation.record_failure(3)), (0, true));
        let mut only = EndpointRotation::default();
        assert!(only.record_failure(1) && only.record_failure(1));
    }
}
