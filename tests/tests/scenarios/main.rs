//! End-to-end scenarios over the real binaries, one topic per module.

mod acme_failures;
mod apply;
mod bad_input;
mod balancing;
mod base_domain;
mod certificate_validity;
mod certificates;
mod change_latency;
mod concurrency;
mod configuration;
mod connection_ends;
mod dns;
mod documents;
mod early_data;
mod failing_backends;
mod feed;
mod feed_cache;
mod feed_partitions;
mod framing;
mod grpc_backends;
mod harness;
mod health;
mod host_ownership;
mod http2_backends;
mod http_challenges;
mod http_port;
mod inbound_proxy_protocol;
mod interop;
mod keep_alive;
mod key_files;
mod listeners;
mod logs;
mod loops;
mod make_dev;
mod misdirected;
mod network_limits;
mod openrpc_conformance;
mod operators;
mod outages;
mod outbound_proxy;
mod owners;
mod paced_downloads;
mod passthrough;
mod protocol_mismatch;
mod proxy_protocol_peers;
mod reload;
mod remote_nodes;
mod responses;
mod restored_backup;
mod route_access;
mod route_basic_auth;
mod route_body_size;
mod route_bounds;
mod route_changes;
mod route_forward_auth;
mod route_headers;
mod route_hsts;
mod route_logs;
mod route_maintenance;
mod route_paths;
mod route_proxy_protocol;
mod route_rate_limit;
mod route_removal;
mod route_retries;
mod route_stats;
mod route_timeouts;
mod setup;
mod shared_state;
mod shutdown;
mod signatures;
mod slow_api_clients;
mod slow_clients;
mod slow_readers;
mod smuggling;
mod socket_activation;
mod sticky_sessions;
mod stress;
mod strict_heads;
mod terminated_routes;
mod tls_backends;
mod trailers;
mod uploads;
mod users;
mod watch;
mod websockets;
mod whoami;

use webgateway_tests::scenario::Trial;

fn main() -> anyhow::Result<()> {
    let scenarios = [traffic(), control()].into_iter().flatten().flatten();
    webgateway_tests::scenario::main(scenarios.collect())
}

/// Returns the scenarios of client traffic through a gateway.
fn traffic() -> Vec<Vec<Trial>> {
    vec![
        harness::scenarios(),
        configuration::scenarios(),
        terminated_routes::scenarios(),
        passthrough::scenarios(),
        early_data::scenarios(),
        websockets::scenarios(),
        misdirected::scenarios(),
        loops::scenarios(),
        tls_backends::scenarios(),
        http2_backends::scenarios(),
        grpc_backends::scenarios(),
        failing_backends::scenarios(),
        balancing::scenarios(),
        sticky_sessions::scenarios(),
        route_timeouts::scenarios(),
        route_retries::scenarios(),
        route_body_size::scenarios(),
        route_bounds::scenarios(),
        health::scenarios(),
        http_port::scenarios(),
        protocol_mismatch::scenarios(),
        smuggling::scenarios(),
        framing::scenarios(),
        responses::scenarios(),
        strict_heads::scenarios(),
        trailers::scenarios(),
        slow_clients::scenarios(),
        slow_api_clients::scenarios(),
        route_access::scenarios(),
        route_proxy_protocol::scenarios(),
        inbound_proxy_protocol::scenarios(),
        proxy_protocol_peers::scenarios(),
        network_limits::scenarios(),
        route_rate_limit::scenarios(),
        route_maintenance::scenarios(),
        route_basic_auth::scenarios(),
        route_forward_auth::scenarios(),
        route_changes::scenarios(),
        route_stats::scenarios(),
        route_logs::scenarios(),
        route_paths::scenarios(),
        route_headers::scenarios(),
        route_hsts::scenarios(),
        shutdown::scenarios(),
        logs::scenarios(),
        reload::scenarios(),
        listeners::scenarios(),
        socket_activation::scenarios(),
        feed::scenarios(),
        route_removal::scenarios(),
        connection_ends::scenarios(),
        slow_readers::scenarios(),
        paced_downloads::scenarios(),
        keep_alive::scenarios(),
        uploads::scenarios(),
        http_challenges::scenarios(),
    ]
}

/// Returns the scenarios of the API, the feed, certificates and documents.
fn control() -> Vec<Vec<Trial>> {
    vec![
        dns::scenarios(),
        owners::scenarios(),
        host_ownership::scenarios(),
        concurrency::scenarios(),
        apply::scenarios(),
        watch::scenarios(),
        operators::scenarios(),
        users::scenarios(),
        whoami::scenarios(),
        base_domain::scenarios(),
        signatures::scenarios(),
        key_files::scenarios(),
        interop::scenarios(),
        openrpc_conformance::scenarios(),
        bad_input::scenarios(),
        certificates::scenarios(),
        certificate_validity::scenarios(),
        outbound_proxy::scenarios(),
        acme_failures::scenarios(),
        outages::scenarios(),
        restored_backup::scenarios(),
        feed_partitions::scenarios(),
        feed_cache::scenarios(),
        shared_state::scenarios(),
        stress::scenarios(),
        remote_nodes::scenarios(),
        documents::scenarios(),
        make_dev::scenarios(),
        change_latency::scenarios(),
    ]
}
