//! The metric of the configuration's age: the time since the controlplane last confirmed the snapshot in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::clock::unix_now;

/// The metric `config_age_seconds`, absent before the first confirmation. Clones share the value.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConfigAge(Arc<AtomicI64>);

impl ConfigAge {
    /// Records that the controlplane confirmed the snapshot in use at `at`, in Unix seconds.
    pub(crate) fn confirmed(&self, at: i64) {
        self.0.store(at, Ordering::Relaxed);
    }
}

impl Collector for ConfigAge {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let at = self.0.load(Ordering::Relaxed);
        if at == 0 {
            return Ok(());
        }
        let age = ConstGauge::new((unix_now() - at).max(0));
        let help = "Time since the controlplane last confirmed the snapshot in use";
        let metric =
            encoder.encode_descriptor("config_age", help, Some(&Unit::Seconds), age.metric_type())?;
        age.encode(metric)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    fn text(age: &ConfigAge) -> String {
        let mut registry = Registry::default();
        registry.sub_registry_with_prefix("webgateway").register_collector(Box::new(age.clone()));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn the_age_is_absent_before_the_first_confirmation_and_counts_from_it() {
        let age = ConfigAge::default();
        assert!(!text(&age).contains("config_age"));
        age.confirmed(unix_now() - 1000);
        let text = text(&age);
        let line = text.lines().find(|line| line.starts_with("webgateway_config_age_seconds ")).unwrap();
        let seconds: i64 = line.split(' ').next_back().unwrap().parse().unwrap();
        assert!((1000..1060).contains(&seconds), "{text}");
    }
}
