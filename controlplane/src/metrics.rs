//! What is counted and timed. Labels come from fixed sets, never from what a client sends.

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
