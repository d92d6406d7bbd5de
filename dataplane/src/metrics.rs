//! The dataplane's metrics. Requests are counted per worker, so that cores share no cache line.

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

/// Handles to every metric of the process. Clones count the same.
#[derive(Clone, Default)]
pub(crate) struct Metrics {
    accepted: Family<ListenerLabels, Counter>,
    open: Family<WorkerLabels, Gauge>,
    requests: Family<ResponseLabels, Counter>,
    tunnels: Family<WorkerLabels, Counter>,
    tunnel_bytes: Family<DirectionLabels, Counter>,
    refused: Family<RefusalLabels, Counter>,
    backend_failures: Family<FailureLabels, Counter>,
    /// Requests sent to a second backend.
    pub retries: Counter,
    /// 1 while the feed is connected.
    pub feed_connected: Gauge,
    /// The version in use.
    pub feed_version: Gauge,
    /// Batches applied.
    pub feed_batches: Counter,
    /// The times that applying a batch took, from its end to its being in use.
    pub feed_apply: DurationHistogram,
    /// The batches applied that named everything there is.
    pub feed_full_syncs: Counter,
    /// Resources rejected.
    pub feed_rejects: Counter,
    /// The time since the controlplane last confirmed what is served.
    pub config_age: ConfigAge,
    /// 1 while what is in use is in the cache.
    pub cache_good: Gauge,
    /// Writes of the cache that failed.
    pub cache_failures: Counter,
    /// DNS questions the controlplane did not answer.
    pub dns_unanswered: Counter,
    /// Routes held.
    pub routes: Gauge,
    /// Certificates held.
    pub certificates: Gauge,
    /// Backends that are out.
    pub backends_down: Gauge,
}

/// The counters of one worker.
#[derive(Clone)]
pub(crate) struct WorkerMetrics {
    /// Connections taken at the split.
    pub accepted_https: Counter,
    /// Connections taken at the redirect.
    pub accepted_http: Counter,
    /// Connections open now.
    pub open: Gauge,
    /// Passthrough connections.
    pub tunnels: Counter,
    /// Bytes from clients through tunnels.
    pub tunnel_in: Counter,
    /// Bytes to clients through tunnels.
    pub tunnel_out: Counter,
    /// Answers by class: 1xx to 5xx.
    classes: [Counter; 5],
    process: Metrics,
}

/// A histogram of times from 10 µs to 40 s.
#[derive(Clone, Debug)]
pub(crate) struct DurationHistogram(Histogram);

impl DurationHistogram {
    /// Counts a time.
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

/// The reason why a connection was cut.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub(crate) enum Refusal {
    /// The first bytes are no TLS, or a ClientHello that cannot be answered.
    NotTls,
    /// The ClientHello is too large.
    HelloTooLarge,
    /// The ClientHello did not come in time.
    HelloTimeout,
    /// The client closed the connection before its ClientHello was process.
    Closed,
    /// The ClientHello names no host.
    NoName,
    /// The ClientHello names an unknown host.
    UnknownName,
    /// A CA asked about a host that no challenge is under way for.
    NoChallenge,
    /// The host's certificate is not there yet.
    NoCertificate,
    /// The rest of the handshake failed.
    Handshake,
    /// The client did not speak HTTP.
    NotHttp,
}

impl Metrics {
    /// Registers the metrics.
    #[must_use]
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let r = registry.sub_registry_with_prefix(PREFIX);
        r.register("connections_accepted", "Connections taken", metrics.accepted.clone());
        r.register("connections_open", "Connections open now", metrics.open.clone());
        r.register(
            "connections_refused",
            "Connections cut for what they sent, or did not send",
            metrics.refused.clone(),
        );
        r.register("requests", "Requests answered, by class of status", metrics.requests.clone());
        r.register("retries", "Requests sent to a second backend", metrics.retries.clone());
        r.register("tunnels", "Passthrough connections", metrics.tunnels.clone());
        r.register(
            "tunnel_bytes",
            "Bytes through tunnels, WebSockets included",
            metrics.tunnel_bytes.clone(),
        );
        r.register("backend_failures", "Backends that failed, by cause", metrics.backend_failures.clone());
        r.register("feed_connected", "1 while the feed is connected", metrics.feed_connected.clone());
        r.register("feed_version", "The version in use", metrics.feed_version.clone());
        r.register("feed_batches", "Batches applied", metrics.feed_batches.clone());
        r.register(
            "feed_apply_seconds",
            "How long applying a batch took, from its end to its being in use",
            metrics.feed_apply.0.clone(),
        );
        r.register(
            "feed_full_syncs",
            "Batches applied that named everything there is",
            metrics.feed_full_syncs.clone(),
        );
        r.register("feed_rejects", "Resources rejected", metrics.feed_rejects.clone());
        r.register_collector(Box::new(metrics.config_age.clone()));
        r.register("cache_good", "1 while what is in use is in the cache", metrics.cache_good.clone());
        r.register("cache_failures", "Writes of the cache that failed", metrics.cache_failures.clone());
        r.register(
            "dns_unanswered",
            "DNS questions that the controlplane did not answer in time",
            metrics.dns_unanswered.clone(),
        );
        r.register("routes", "Routes held", metrics.routes.clone());
        r.register("certificates", "Certificates held", metrics.certificates.clone());
        r.register("backends_down", "Backends that are passed over", metrics.backends_down.clone());
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
    /// Returns the number of requests answered so far.
    #[must_use]
    pub(crate) fn requests(&self) -> u64 {
        self.classes.iter().map(Counter::get).sum()
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, status: http::StatusCode) {
        if let Some(counter) = self.classes.get(usize::from(status.as_u16() / 100).wrapping_sub(1)) {
            counter.inc();
        }
    }

    /// Counts a connection that was cut.
    pub(crate) fn refused(&self, reason: Refusal) {
        self.process.refused.get_or_create(&RefusalLabels { reason }).inc();
    }

    /// Counts a backend's failure; `cause` is an RFC 9209 error type.
    pub(crate) fn backend_failed(&self, cause: &'static str) {
        self.process.backend_failures.get_or_create(&FailureLabels { cause }).inc();
    }

    /// Counts a request sent to a second backend.
    pub(crate) fn retried(&self) {
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
        worker.refused(Refusal::NotTls);
        worker.backend_failed("connection_timeout");
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
