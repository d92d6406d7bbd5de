//! The metrics of a DNS server.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use webgateway_process::{PREFIX, ProcessMetrics};

/// Handles to the metrics of a DNS server. Clones share the counters.
#[derive(Debug, Clone, Default)]
pub struct DnsMetrics {
    /// The counter of questions.
    pub questions: Counter,
    /// The counter of questions over a network's limit.
    pub limited: Counter,
    /// The counter of restarted listeners.
    pub restarts: Counter,
    /// The counter of failed accepts.
    pub accept_errors: Counter,
}

impl DnsMetrics {
    /// Registers the metrics. The counter of failed accepts belongs to the process's metrics.
    #[must_use]
    pub fn register(registry: &mut Registry, process: &ProcessMetrics) -> Self {
        let metrics = Self { accept_errors: process.accept_errors("dns"), ..Self::default() };
        let r = registry.sub_registry_with_prefix(PREFIX);
        r.register("dns_questions", "DNS questions", metrics.questions.clone());
        r.register("dns_limited", "DNS questions over a network's limit", metrics.limited.clone());
        r.register(
            "dns_restarts",
            "DNS listeners that ended and were started anew",
            metrics.restarts.clone(),
        );
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_documented() {
        let mut registry = Registry::default();
        let _ = DnsMetrics::register(&mut registry, &ProcessMetrics::default());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for name in ["webgateway_dns_questions", "webgateway_dns_limited", "webgateway_dns_restarts"] {
            let documented = include_str!("../../../deploy/METRICS.md").contains(&format!("`{name}_total`"));
            assert!(text.contains(&format!("# TYPE {name} counter")) && documented, "{name}");
        }
    }
}
