//! The controlplane's metrics. Labels come from fixed sets, never from what a client sends.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use webgateway_process::PREFIX;

type Timings<L> = Family<L, Histogram, fn() -> Histogram>;

/// The labels of a store transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TransactionLabels {
    name: &'static str,
    kind: &'static str,
}

/// The labels of an API call: its method (`unknown` for others) and the kind of its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    method: &'static str,
    outcome: String,
}

/// The labels of a refused HTTP request or API connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    reason: String,
}

/// The labels of certificates in one state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabels {
    state: &'static str,
}

/// The labels of attempts to get a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    outcome: &'static str,
}

/// The numbers of certificates by state.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct CertificateCounts {
    /// The number of valid certificates.
    pub valid: usize,
    /// The number of expired certificates.
    pub expired: usize,
    /// The number of certificates that have never been issued.
    pub waiting: usize,
    /// The number of certificates whose last attempt failed.
    pub failing: usize,
    /// The time until the first certificate expires, in seconds; negative if it has.
    pub expiry_seconds: Option<f64>,
}

/// Handles to all metrics of this process. Clones share the metrics.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    transactions: Timings<TransactionLabels>,
    revision: Gauge,
    calls: Family<CallLabels, Counter>,
    refused: Family<RefusalLabels, Counter>,
    connections: Gauge,
    certificates: Family<CertificateLabels, Gauge>,
    certificate_expiry: Gauge<f64, AtomicU64>,
    attempts: Family<AttemptLabels, Counter>,
    /// The number of connected nodes.
    pub nodes_connected: Gauge,
    /// The number of connections, streams and calls on the feed that violate its protocol.
    pub feed_protocol_errors: Counter,
}

impl Metrics {
    /// Registers the metrics.
    #[must_use]
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::unregistered();
        let r = registry.sub_registry_with_prefix(PREFIX);
        r.register("store_transaction_seconds", "Store transactions", metrics.transactions.clone());
        r.register("store_revision", "The store's revision", metrics.revision.clone());
        r.register("api_calls", "API calls by method and outcome", metrics.calls.clone());
        r.register("api_refused", "Requests and connections refused, by reason", metrics.refused.clone());
        r.register("api_connections_open", "Open connections to the API", metrics.connections.clone());
        r.register("nodes_connected", "Connected nodes", metrics.nodes_connected.clone());
        r.register(
            "feed_protocol_errors",
            "Connections, streams and calls on the feed that violate its protocol",
            metrics.feed_protocol_errors.clone(),
        );
        r.register("certificates_managed", "Certificates by state", metrics.certificates.clone());
        r.register(
            "certificates_expiry_seconds",
            "Time until the certificate that expires first does; negative if it has",
            metrics.certificate_expiry.clone(),
        );
        r.register(
            "certificate_attempts",
            "Attempts to get a certificate, by outcome",
            metrics.attempts.clone(),
        );
        metrics
    }

    fn unregistered() -> Self {
        Self {
            transactions: Timings::new_with_constructor(timing),
            revision: Gauge::default(),
            calls: Family::default(),
            refused: Family::default(),
            connections: Gauge::default(),
            certificates: Family::default(),
            certificate_expiry: Gauge::default(),
            attempts: Family::default(),
            nodes_connected: Gauge::default(),
            feed_protocol_errors: Counter::default(),
        }
    }

    /// Sets the numbers of certificates by state.
    pub(crate) fn certificates(&self, counts: CertificateCounts) {
        let CertificateCounts { valid, expired, waiting, failing, expiry_seconds } = counts;
        for (state, count) in
            [("valid", valid), ("expired", expired), ("waiting", waiting), ("failing", failing)]
        {
            let gauge = self.certificates.get_or_create(&CertificateLabels { state });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        if let Some(seconds) = expiry_seconds {
            self.certificate_expiry.set(seconds);
        }
    }

    /// Counts an attempt to get a certificate: `issued`, `failed`, `missing` (DNS records) or `held_back` (by a limit).
    pub(crate) fn attempt(&self, outcome: &'static str) {
        self.attempts.get_or_create(&AttemptLabels { outcome }).inc();
    }

    /// Records how long a store transaction took.
    pub(crate) fn transaction(&self, kind: &'static str, name: &'static str, took: Duration) {
        self.transactions.get_or_create(&TransactionLabels { name, kind }).observe(took.as_secs_f64());
    }

    /// Sets the store's revision.
    pub(crate) fn revision(&self, revision: u64) {
        self.revision.set(revision.cast_signed());
    }

    /// Counts an API call; `outcome` is `ok` or the kind of the error.
    pub(crate) fn call(&self, method: &'static str, outcome: &str) {
        self.calls.get_or_create(&CallLabels { method, outcome: outcome.to_owned() }).inc();
    }

    /// Counts a request or connection that was refused before it became a call.
    pub(crate) fn refused(&self, reason: &str) {
        self.refused.get_or_create(&RefusalLabels { reason: reason.to_owned() }).inc();
    }

    /// Counts a connection to the API as open until the guard is dropped.
    #[must_use]
    pub(crate) fn connection(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }
}

/// A guard that counts one open connection until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn timing() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 4.0, 9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_documented() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        // A family without members is not encoded.
        metrics.transaction("read", "test", Duration::ZERO);
        metrics.call("version", "ok");
        metrics.refused("accept");
        metrics.certificates(CertificateCounts::default());
        metrics.attempt("issued");
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        let names: Vec<&str> = names.collect();
        assert!(names.len() >= 10, "{names:?}");
        for name in names {
            let documented = include_str!("../../deploy/METRICS.md").contains(&format!("`{name}"));
            assert!(name.starts_with("webgateway_") && documented, "{name}");
        }
    }
}
