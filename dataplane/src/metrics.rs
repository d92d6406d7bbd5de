//! The dataplane's metrics. Each worker has its own counters, so that cores do not share cache lines.

mod age;

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use webgateway_process::PREFIX;

pub(crate) use self::age::ConfigAge;

/// Handles to all metrics of the process. Clones share the values.
#[derive(Clone, Default)]
pub(crate) struct Metrics {
    accepted: Family<ListenerLabels, Counter>,
    open: Family<WorkerLabels, Gauge>,
    requests: Family<ResponseLabels, Counter>,
    tunnels: Family<WorkerLabels, Counter>,
    tunnel_bytes: Family<DirectionLabels, Counter>,
    refused: Family<RefusalLabels, Counter>,
    backend_failures: Family<FailureLabels, Counter>,
    /// The requests retried at another backend.
    pub retries: Counter,
    /// The responses cut because their clients did not read while too much waited.
    pub stalled_cuts: Counter,
    /// 1 while the feed is connected.
    pub feed_connected: Gauge,
    /// The version of the snapshot in use.
    pub feed_version: Gauge,
    /// The batches applied.
    pub feed_batches: Counter,
    /// The time from the end of a batch until it is in use.
    pub feed_apply: DurationHistogram,
    /// The full batches applied.
    pub feed_full_syncs: Counter,
    /// The resources rejected.
    pub feed_rejects: Counter,
    /// The time since the controlplane last confirmed the snapshot in use.
    pub config_age: ConfigAge,
    /// 1 while the snapshot in use is in the cache.
    pub cache_good: Gauge,
    /// The failed writes of the cache.
    pub cache_failures: Counter,
    /// The DNS questions that the controlplane did not answer in time.
    pub dns_unanswered: Counter,
    /// The routes in the snapshot.
    pub routes: Gauge,
    /// The certificates in the snapshot.
    pub certificates: Gauge,
    /// The backends out of rotation.
    pub backends_down: Gauge,
}

/// The counters of one worker.
#[derive(Clone)]
pub(crate) struct WorkerMetrics {
    /// The connections accepted on `https_port`.
    pub accepted_https: Counter,
    /// The connections accepted on `http_port`.
    pub accepted_http: Counter,
    /// The open connections.
    pub open: Gauge,
    /// The passthrough connections.
    pub tunnels: Counter,
    /// The bytes from clients through tunnels.
    pub tunnel_in: Counter,
    /// The bytes to clients through tunnels.
    pub tunnel_out: Counter,
    /// The responses by class of status: 1xx to 5xx.
    classes: [Counter; 5],
    process: Metrics,
}

/// A histogram of durations from 10 µs to 40 s, in seconds.
#[derive(Clone, Debug)]
pub(crate) struct DurationHistogram(Histogram);

impl DurationHistogram {
    /// Records a duration.
    pub(crate) fn observe(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }
}

impl Default for DurationHistogram {
    fn default() -> Self {
        Self(Histogram::new(exponential_buckets(0.000_01, 4.0, 12)))
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WorkerLabels {
    worker: u32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ListenerLabels {
    worker: u32,
    listener: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResponseLabels {
    worker: u32,
    class: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DirectionLabels {
    worker: u32,
    direction: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RefusalLabels {
    reason: Refusal,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FailureLabels {
    cause: &'static str,
}

/// The reason why a connection was refused.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub(crate) enum Refusal {
    /// The first bytes are not TLS, or the ClientHello is malformed.
    NotTls,
    /// The ClientHello is too large.
    HelloTooLarge,
    /// The ClientHello did not come in time.
    HelloTimeout,
    /// The client closed the connection before its ClientHello was complete.
    Closed,
    /// The ClientHello has no server name.
    NoName,
    /// The ClientHello has an unknown server name.
    UnknownName,
    /// A TLS-ALPN-01 handshake was for a host without a pending challenge.
    NoChallenge,
    /// The host has no certificate yet.
    NoCertificate,
    /// The passthrough route does not admit clients with this address.
    Denied,
    /// The rest of the handshake failed.
    Handshake,
    /// The client did not speak HTTP.
    NotHttp,
}

impl Metrics {
    /// Creates the metrics and registers them.
    #[must_use]
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let r = registry.sub_registry_with_prefix(PREFIX);
        r.register("connections_accepted", "Connections accepted", metrics.accepted.clone());
        r.register("connections_open", "Open connections", metrics.open.clone());
        r.register("connections_refused", "Connections refused, by reason", metrics.refused.clone());
        r.register("requests", "Responses sent, by class of status", metrics.requests.clone());
        r.register("retries", "Requests retried at another backend", metrics.retries.clone());
        r.register(
            "stalled_responses_cut",
            "Responses cut because their clients did not read and the backlog was over its limit",
            metrics.stalled_cuts.clone(),
        );
        r.register("tunnels", "Passthrough connections", metrics.tunnels.clone());
        r.register(
            "tunnel_bytes",
            "Bytes through tunnels, WebSockets included",
            metrics.tunnel_bytes.clone(),
        );
        r.register("backend_failures", "Failures of backends, by cause", metrics.backend_failures.clone());
        r.register("feed_connected", "1 while the feed is connected", metrics.feed_connected.clone());
        r.register("feed_version", "Version of the snapshot in use", metrics.feed_version.clone());
        r.register("feed_batches", "Batches applied", metrics.feed_batches.clone());
        r.register(
            "feed_apply_seconds",
            "Time from the end of a batch until it is in use",
            metrics.feed_apply.0.clone(),
        );
        r.register("feed_full_syncs", "Full batches applied", metrics.feed_full_syncs.clone());
        r.register("feed_rejects", "Resources rejected", metrics.feed_rejects.clone());
        r.register_collector(Box::new(metrics.config_age.clone()));
        r.register("cache_good", "1 while the snapshot in use is in the cache", metrics.cache_good.clone());
        r.register("cache_failures", "Failed writes of the cache", metrics.cache_failures.clone());
        r.register(
            "dns_unanswered",
            "DNS questions that the controlplane did not answer in time",
            metrics.dns_unanswered.clone(),
        );
        r.register("routes", "Routes in the snapshot", metrics.routes.clone());
        r.register("certificates", "Certificates in the snapshot", metrics.certificates.clone());
        r.register("backends_down", "Backends out of rotation", metrics.backends_down.clone());
        metrics
    }

    /// Returns the counters of one worker.
    #[must_use]
    pub(crate) fn worker(&self, worker: u32) -> WorkerMetrics {
        let accepted = |listener| self.accepted.get_or_create_owned(&ListenerLabels { worker, listener });
        let flow = |direction| self.tunnel_bytes.get_or_create_owned(&DirectionLabels { worker, direction });
        let class = |class| self.requests.get_or_create_owned(&ResponseLabels { worker, class });
        WorkerMetrics {
            accepted_https: accepted("https"),
            accepted_http: accepted("http"),
            open: self.open.get_or_create_owned(&WorkerLabels { worker }),
            tunnels: self.tunnels.get_or_create_owned(&WorkerLabels { worker }),
            tunnel_in: flow("in"),
            tunnel_out: flow("out"),
            classes: [class("1xx"), class("2xx"), class("3xx"), class("4xx"), class("5xx")],
            process: self.clone(),
        }
    }
}

impl WorkerMetrics {
    /// Returns the number of responses sent so far.
    #[must_use]
    pub(crate) fn requests(&self) -> u64 {
        self.classes.iter().map(Counter::get).sum()
    }

    /// Counts a response.
    pub(crate) fn count_response(&self, status: http::StatusCode) {
        if let Some(counter) = self.classes.get(usize::from(status.as_u16() / 100).wrapping_sub(1)) {
            counter.inc();
        }
    }

    /// Counts a refused connection.
    pub(crate) fn count_refusal(&self, reason: Refusal) {
        self.process.refused.get_or_create(&RefusalLabels { reason }).inc();
    }

    /// Counts a failure of a backend; `cause` is a proxy error type (RFC 9209 §2.3).
    pub(crate) fn count_backend_failure(&self, cause: &'static str) {
        self.process.backend_failures.get_or_create(&FailureLabels { cause }).inc();
    }

    /// Returns the counter of the responses cut because their clients did not read.
    #[must_use]
    pub(crate) fn stalled_cuts(&self) -> Counter {
        self.process.stalled_cuts.clone()
    }

    /// Counts a request that is retried at another backend.
    pub(crate) fn count_retry(&self) {
        self.process.retries.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_documented() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let worker = metrics.worker(0);
        worker.count_refusal(Refusal::NotTls);
        worker.count_backend_failure("connection_timeout");
        metrics.config_age.confirmed(1);
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
