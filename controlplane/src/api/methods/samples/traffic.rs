//! The example values about traffic and access logs.

use std::collections::BTreeMap;

use webgateway_proto::api::{
    HourTraffic, LatencyView, LogLine, LogPage, LogsParams, NodeTraffic, ResponseClasses, RouteStats,
    RouteStatsList, StatsParams, TrafficOrder, TrafficView, TrafficWindows, Window,
};
use webgateway_proto::model::Mode;

use super::constants::{ROUTE, USER};
use crate::api::methods::method::Example;

/// The host of the example route after its updates.
const HOST: &str = "app.example.org";

fn view(requests: u64) -> TrafficView {
    let responses = ResponseClasses {
        success: requests - 4,
        client_error: 3,
        server_error: 1,
        ..ResponseClasses::default()
    };
    TrafficView {
        requests,
        responses,
        cancelled: 0,
        connections: 0,
        errors: BTreeMap::from([("connection_refused".to_owned(), 1)]),
        received_bytes: 210 * requests,
        sent_bytes: 5_120 * requests,
        latency: Some(LatencyView { p50: 0.0124, p90: 0.0431, p99: 0.198 }),
    }
}

fn windows(requests: u64) -> TrafficWindows {
    let (minute, hour, day) = (view(requests), view(47 * requests), view(803 * requests));
    TrafficWindows { open: 3, minute, hour, day }
}

fn route_stats() -> RouteStats {
    RouteStats {
        id: ROUTE.to_string(),
        owner: USER.to_owned(),
        host: HOST.to_owned(),
        mode: Mode::Terminate,
        all: windows(61),
        nodes: Vec::new(),
        history: Vec::new(),
    }
}

pub(in crate::api::methods) fn stats() -> Vec<Example<StatsParams, RouteStatsList>> {
    let one = StatsParams { host: Some(HOST.to_owned()), hours: Some(24), ..StatsParams::default() };
    let hour = HourTraffic { hour: "2026-03-02T10:00:00Z".to_owned(), traffic: view(2_911) };
    let nodes = vec![NodeTraffic { node: "edge1".to_owned(), traffic: windows(61) }];
    let list = StatsParams {
        window: Some(Window::Hour),
        sort: Some(TrafficOrder::Bytes),
        limit: Some(10),
        ..StatsParams::default()
    };
    let detailed = RouteStats { nodes, history: vec![hour], ..route_stats() };
    vec![
        Example {
            name: "One route, by node and hour",
            params: one,
            result: RouteStatsList { routes: vec![detailed], total: 1 },
        },
        Example {
            name: "The routes with the most traffic",
            params: list,
            result: RouteStatsList { routes: vec![route_stats()], total: 1 },
        },
    ]
}

pub(in crate::api::methods) fn logs() -> Vec<Example<LogsParams, LogPage>> {
    let first = LogsParams { host: HOST.to_owned(), after: None, wait: None };
    let cursor = 1_772_445_912_418_000;
    let next = LogsParams { after: Some(cursor), wait: Some(1), ..first.clone() };
    let line = LogLine {
        time: "2026-03-02T10:05:14.02Z".to_owned(),
        node: "edge1".to_owned(),
        client: "192.0.2.7".to_owned(),
        method: Some("GET".to_owned()),
        path: Some("/basket".to_owned()),
        status: Some(200),
        error: None,
        received_bytes: 0,
        sent_bytes: 5120,
        duration: 0.0131,
        request_id: None,
    };
    vec![
        Example {
            name: "The begin",
            params: first,
            result: LogPage { nodes: 2, cursor, lines: Vec::new(), left_out: 0 },
        },
        Example {
            name: "The lines since then",
            params: next,
            result: LogPage { nodes: 2, cursor: cursor + 1, lines: vec![line], left_out: 0 },
        },
    ]
}
