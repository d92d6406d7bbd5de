//! What is counted and timed. Labels come from fixed sets, never from what a client sends.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type Timings<L> = Family<L, Histogram, fn() -> Histogram>;

/// A store transaction's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Transaction {
    name: &'static str,
    kind: &'static str,
}

/// An API call: its method (`unknown` for others) and the kind of its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    method: &'static str,
    outcome: String,
}

/// Why an HTTP request or a connection to the API was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: String,
}

/// How many certificates are in which state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

/// What came of an attempt at a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// How it stands with the certificates.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CertificateCounts {
    /// Good now.
    pub valid: usize,
    /// Over.
    pub expired: usize,
    /// Not there yet.
    pub waiting: usize,
    /// Whose last attempt failed.
    pub failing: usize,
    /// How long the one that ends first is still good; negative if it is over.
    pub days_left: Option<f64>,
}

/// Handles to every metric of this process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    transactions: Timings<Transaction>,
    revision: Gauge,
    calls: Family<Call, Counter>,
    refused: Family<Reason, Counter>,
    connections: Gauge,
    feed_nodes: Gauge,
    feed_garbage: Counter,
    dns_questions: Counter,
    certificates: Family<State, Gauge>,
    days_left: Gauge<f64, AtomicU64>,
    attempts: Family<Outcome, Counter>,
    dns_limited: Counter,
    dns_restarts: Counter,
}

impl Metrics {
    /// Makes the metrics and registers them.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            transactions: Timings::new_with_constructor(timing),
            revision: Gauge::default(),
            calls: Family::default(),
            refused: Family::default(),
            connections: Gauge::default(),
            feed_nodes: Gauge::default(),
            feed_garbage: Counter::default(),
            dns_questions: Counter::default(),
            certificates: Family::default(),
            days_left: Gauge::default(),
            attempts: Family::default(),
            dns_limited: Counter::default(),
            dns_restarts: Counter::default(),
        };
        let registry = registry.sub_registry_with_prefix("webgateway_controlplane");
        registry.register("store_transaction_seconds", "Store transactions", metrics.transactions.clone());
        registry.register("store_revision", "The store's revision", metrics.revision.clone());
        registry.register("api_calls", "API calls by method and outcome", metrics.calls.clone());
        registry.register("api_refused", "Requests and connections refused", metrics.refused.clone());
        registry.register("api_connections", "Open connections to the API", metrics.connections.clone());
        registry.register("feed_nodes", "Connected nodes", metrics.feed_nodes.clone());
        let garbage = metrics.feed_garbage.clone();
        registry.register("feed_garbage", "Connections, streams and calls no node makes", garbage);
        registry.register("dns_questions", "Questions to the name server", metrics.dns_questions.clone());
        let limited = metrics.dns_limited.clone();
        registry.register("dns_limited", "Questions over their network's limit", limited);
        let restarts = metrics.dns_restarts.clone();
        registry.register("dns_restarts", "Listeners of the name server that ended", restarts);
        registry.register("certificates", "Certificates by state", metrics.certificates.clone());
        let days = "How long the certificate that ends first is still good";
        registry.register("certificates_days_left", days, metrics.days_left.clone());
        let attempts = "Attempts at certificates by outcome";
        registry.register("certificates_attempts", attempts, metrics.attempts.clone());
        metrics
    }

    /// How many nodes are connected.
    #[must_use]
    pub fn feed_nodes(&self) -> Gauge {
        self.feed_nodes.clone()
    }

    /// Connections, streams and calls on the nodes' socket that no node makes.
    #[must_use]
    pub fn feed_garbage(&self) -> Counter {
        self.feed_garbage.clone()
    }

    /// Questions to the name server.
    #[must_use]
    pub fn dns_questions(&self) -> Counter {
        self.dns_questions.clone()
    }

    /// Questions to the name server that were over their network's limit.
    #[must_use]
    pub fn dns_limited(&self) -> Counter {
        self.dns_limited.clone()
    }

    /// Listeners of the name server that ended and were started anew.
    #[must_use]
    pub fn dns_restarts(&self) -> Counter {
        self.dns_restarts.clone()
    }

    /// How it stands with the certificates.
    pub fn certificates(&self, counts: CertificateCounts) {
        let CertificateCounts { valid, expired, waiting, failing, days_left } = counts;
        for (state, count) in
            [("valid", valid), ("expired", expired), ("waiting", waiting), ("failing", failing)]
        {
            let gauge = self.certificates.get_or_create(&State { state });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        if let Some(days) = days_left {
            self.days_left.set(days);
        }
    }

    /// An attempt at a certificate ended: `issued`, `failed`, `missing` (DNS records) or `held_back` (by a limit).
    pub fn attempt(&self, outcome: &'static str) {
        self.attempts.get_or_create(&Outcome { outcome }).inc();
    }

    /// One store transaction took this long.
    pub fn transaction(&self, kind: &'static str, name: &'static str, took: Duration) {
        self.transactions.get_or_create(&Transaction { name, kind }).observe(took.as_secs_f64());
    }

    /// The store stands at this revision.
    pub fn revision(&self, revision: u64) {
        self.revision.set(revision.cast_signed());
    }

    /// One API call ended; `outcome` is `ok` or the kind of the error.
    pub fn call(&self, method: &'static str, outcome: &str) {
        self.calls.get_or_create(&Call { method, outcome: outcome.to_owned() }).inc();
    }

    /// A request or connection was refused before it became a call.
    pub fn refused(&self, reason: &str) {
        self.refused.get_or_create(&Reason { reason: reason.to_owned() }).inc();
    }

    /// A connection to the API; it counts as open until the guard is dropped.
    #[must_use]
    pub fn connection(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }
}

/// Counts as one open connection.
#[derive(Debug)]
pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn timing() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 4.0, 9))
}
