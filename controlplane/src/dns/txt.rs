//! The TXT values that are to be seen now: each stays as long as its guard lives.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::watch;
use webgateway_proto::model::Host;

/// How much of a host's SHA-256 names its place, in bytes.
const LABEL_DIGEST_SIZE: usize = 10;

/// Where in our zone the values for one host stand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TxtName {
    /// At the zone's own name: those of the base domain and its wildcard.
    Apex,
    /// One label below it: those of a host whose `_acme-challenge` is a CNAME to there. The label is told by the
    /// host alone, so that the owner can make the CNAME once, and no two hosts share one.
    Below(String),
}

/// The pending values. Clones are the same set.
#[derive(Debug, Clone)]
pub(crate) struct TxtSet(Arc<watch::Sender<TxtValues>>);

#[derive(Debug, Default)]
struct TxtValues {
    /// Counts the changes.
    generation: u64,
    counts: BTreeMap<(TxtName, String), usize>,
}

/// One value, seen until this is dropped.
#[derive(Debug)]
#[must_use = "the value is taken back when this is dropped"]
pub(crate) struct TxtGuard {
    set: TxtSet,
    key: (TxtName, String),
}

impl TxtName {
    /// Where the values for a host stand.
    #[must_use]
    pub(crate) fn for_host(host: &Host, base: &Host) -> Self {
        if host == base {
            return Self::Apex;
        }
        let digest = digest(&SHA256, host.as_str().as_bytes());
        Self::Below(
            digest.as_ref().iter().take(LABEL_DIGEST_SIZE).map(|byte| format!("{byte:02x}")).collect(),
        )
    }
}

impl TxtSet {
    /// None yet.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(TxtValues::default())))
    }

    /// Shows a value. Shown twice, it stays until both guards are gone.
    pub(crate) fn publish(&self, place: TxtName, value: &str) -> TxtGuard {
        let key = (place, value.to_owned());
        self.0.send_modify(|values| {
            values.generation += 1;
            *values.counts.entry(key.clone()).or_default() += 1;
        });
        TxtGuard { set: self.clone(), key }
    }

    /// Counts the changes: while it stays the same, so do the values.
    #[must_use]
    pub(crate) fn generation(&self) -> u64 {
        self.0.borrow().generation
    }

    /// The values in their order, and the generation they are of.
    #[must_use]
    pub(crate) fn values(&self) -> (u64, Vec<(TxtName, String)>) {
        let values = self.0.borrow();
        (values.generation, values.counts.keys().cloned().collect())
    }
}

impl Default for TxtSet {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TxtGuard {
    fn drop(&mut self) {
        self.set.0.send_modify(|values| {
            values.generation += 1;
            if let Some(count) = values.counts.get_mut(&self.key) {
                *count -= 1;
                if *count == 0 {
                    values.counts.remove(&self.key);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    #[test]
    fn a_value_lives_as_long_as_its_guards() {
        let set = TxtSet::new();
        let values = || set.values().1.into_iter().map(|(_, value)| value).collect::<Vec<_>>();
        let (b, a) = (set.publish(TxtName::Apex, "b"), set.publish(TxtName::Apex, "a"));
        let again = set.publish(TxtName::Apex, "a");
        assert_eq!(values(), ["a", "b"]);
        drop(a);
        assert_eq!(values(), ["a", "b"]);
        drop(again);
        let before = set.generation();
        assert_eq!(values(), ["b"]);
        drop(b);
        assert!(values().is_empty() && set.generation() > before);
    }

    #[test]
    fn each_host_has_a_place_of_its_own() {
        let base = host("gw.example");
        assert_eq!(TxtName::for_host(&base, &base), TxtName::Apex);
        let TxtName::Below(label) = TxtName::for_host(&host("app.example.org"), &base) else {
            panic!("apex")
        };
        assert_eq!(label, "b0bf13b620397f0e7a46", "owners have made CNAMEs to it: it may never change");
        assert_ne!(TxtName::for_host(&host("app2.example.org"), &base), TxtName::Below(label));
    }
}
