//! The TXT values that are to be seen now: each stays as long as its guard lives.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

/// The pending values. Clones are the same set.
#[derive(Debug, Clone)]
pub struct TxtSet(Arc<watch::Sender<Values>>);

type Values = BTreeMap<String, usize>;

/// One value, seen until this is dropped.
#[derive(Debug)]
#[must_use = "the value is taken back when this is dropped"]
pub struct TxtGuard {
    set: TxtSet,
    value: String,
}

impl TxtSet {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Values::new())))
    }

    /// Shows a value. Shown twice, it stays until both guards are gone.
    pub fn show(&self, value: &str) -> TxtGuard {
        self.0.send_modify(|values| *values.entry(value.to_owned()).or_default() += 1);
        TxtGuard { set: self.clone(), value: value.to_owned() }
    }

    /// The values, in their order.
    #[must_use]
    pub fn values(&self) -> Vec<String> {
        self.0.borrow().keys().cloned().collect()
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
            if let Some(count) = values.get_mut(&self.value) {
                *count -= 1;
                if *count == 0 {
                    values.remove(&self.value);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lives_as_long_as_its_guards() {
        let set = TxtSet::new();
        let (b, a) = (set.show("b"), set.show("a"));
        let again = set.show("a");
        assert_eq!(set.values(), ["a", "b"]);
        drop(a);
        assert_eq!(set.values(), ["a", "b"]);
        drop(again);
        assert_eq!(set.values(), ["b"]);
        drop(b);
        assert!(set.values().is_empty());
    }
}
