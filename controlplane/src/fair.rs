//! A queue that serves owners in turn, so that no owner's many jobs delay another owner's few.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A queue of jobs by owner. Each owner's own jobs are served in order.
#[derive(Debug)]
pub(crate) struct FairQueue<K, T> {
    /// The owners with waiting jobs, in the order of their turns.
    turns: VecDeque<K>,
    waiting: HashMap<K, VecDeque<T>>,
    running: HashMap<K, usize>,
    /// The maximum number of concurrent jobs of one owner.
    share: usize,
}

impl<K: Clone + Eq + Hash, T> FairQueue<K, T> {
    /// Creates a queue of which one owner can have `share` jobs running at once.
    #[must_use]
    pub(crate) fn new(share: usize) -> Self {
        Self { turns: VecDeque::new(), waiting: HashMap::new(), running: HashMap::new(), share }
    }

    /// Adds a job.
    pub(crate) fn push(&mut self, owner: K, job: T) {
        let jobs = self.waiting.entry(owner.clone()).or_default();
        if jobs.is_empty() {
            self.turns.push_back(owner);
        }
        jobs.push_back(job);
    }

    /// Returns the next job of the first owner in turn who does not have their share running. The job runs until
    /// [`finish`](Self::finish) is called.
    pub(crate) fn pop(&mut self) -> Option<(K, T)> {
        let is_free = |owner: &K| self.running.get(owner).is_none_or(|running| *running < self.share);
        let at = self.turns.iter().position(is_free)?;
        let owner = self.turns.remove(at)?;
        let jobs = self.waiting.get_mut(&owner)?;
        let job = jobs.pop_front()?;
        if jobs.is_empty() {
            self.waiting.remove(&owner);
        } else {
            self.turns.push_back(owner.clone());
        }
        *self.running.entry(owner.clone()).or_default() += 1;
        Some((owner, job))
    }

    /// Ends a job of this owner.
    pub(crate) fn finish(&mut self, owner: &K) {
        match self.running.get_mut(owner) {
            Some(running) if *running > 1 => *running -= 1,
            Some(_) => drop(self.running.remove(owner)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_job_does_not_wait_for_a_thousand_of_another_owner() {
        let mut queue = FairQueue::new(2);
        (0..1000).for_each(|job| queue.push("many", job));
        queue.push("one", 1000);
        let served: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(served, [("many", 0), ("one", 1000), ("many", 1)], "and `many` has its share");
        queue.finish(&"many");
        assert_eq!(queue.pop(), Some(("many", 2)));
        queue.push("two", 1001);
        assert_eq!(queue.pop(), Some(("two", 1001)), "although the share of `many` is running");
    }

    proptest! {
        #[test]
        fn every_job_is_served_once_in_its_owners_order(jobs in proptest::collection::vec(0..4u8, 0..60), share in 1..4usize) {
            let mut queue = FairQueue::new(share);
            jobs.iter().enumerate().for_each(|(number, owner)| queue.push(*owner, number));
            let (mut served, mut running): (BTreeMap<u8, Vec<usize>>, Vec<u8>) = Default::default();
            loop {
                while let Some((owner, job)) = queue.pop() {
                    served.entry(owner).or_default().push(job);
                    running.push(owner);
                    prop_assert!(running.iter().filter(|one| **one == owner).count() <= share);
                }
                let Some(owner) = running.pop() else { break };
                queue.finish(&owner);
            }
            prop_assert_eq!(served.values().map(Vec::len).sum::<usize>(), jobs.len());
            prop_assert!(served.values().all(|jobs| jobs.is_sorted()));
            prop_assert!(queue.waiting.is_empty() && queue.running.is_empty() && queue.turns.is_empty());
        }
    }
}
