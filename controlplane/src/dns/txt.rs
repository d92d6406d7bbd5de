//! The published TXT values. Each value stays as long as its guard lives.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::watch;
use webgateway_proto::model::Host;

/// The number of bytes of a host's SHA-256 digest in its label.
const LABEL_DIGEST_SIZE: usize = 10;

/// The name in our zone that holds the TXT values for one host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TxtName {
    /// The apex of the zone, with the values for the base domain and its wildcard.
    Apex,
    /// The name one label below the apex, with the values for a host whose `_acme-challenge` is a CNAME to it. The
    /// label depends only on the host, so that the owner creates the CNAME once and no two hosts share a label.
    Below(String),
}

/// The set of published TXT values. Clones share the set.
#[derive(Debug, Clone)]
pub(crate) struct TxtSet(Arc<watch::Sender<TxtValues>>);

#[derive(Debug, Default)]
struct TxtValues {
    /// The number of changes so far.
    generation: u64,
    counts: BTreeMap<(TxtName, String), usize>,
}

/// A guard that keeps one value published until it is dropped.
#[derive(Debug)]
#[must_use = "the value is withdrawn when this is dropped"]
pub(crate) struct TxtGuard {
    set: TxtSet,
    key: (TxtName, String),
}

impl TxtName {
    /// Returns the name for a host's values.
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
    /// Creates an empty set.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(TxtValues::default())))
    }

    /// Publishes a value. A value that is published twice stays until both guards are dropped.
    pub(crate) fn publish(&self, name: TxtName, value: &str) -> TxtGuard {
        let key = (name, value.to_owned());
        self.0.send_modify(|values| {
            values.generation += 1;
            *values.counts.entry(key.clone()).or_default() += 1;
        });
        TxtGuard { set: self.clone(), key }
    }

    /// Returns the number of changes so far. The values have not changed while this stays the same.
    #[must_use]
    pub(crate) fn generation(&self) -> u64 {
        self.0.borrow().generation
    }

    /// Returns the generation and its values, ordered by name and value.
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
    fn a_value_is_published_as_long_as_a_guard_lives() {
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
    fn each_host_has_its_own_name() {
        let base = host("gw.example");
        assert_eq!(TxtName::for_host(&base, &base), TxtName::Apex);
        let TxtName::Below(label) = TxtName::for_host(&host("app.example.org"), &base) else {
            panic!("apex")
        };
        assert_eq!(label, "b0bf13b620397f0e7a46", "owners have created CNAMEs to it: it must never change");
        assert_ne!(TxtName::for_host(&host("app2.example.org"), &base), TxtName::Below(label));
    }
}
