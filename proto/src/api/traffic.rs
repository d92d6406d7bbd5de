//! The traffic of routes, and the lines of their access log while somebody follows it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Mode;

/// The maximum number of hours in the history of a route: 30 days.
pub const MAX_HOURS: u32 = 720;

/// Params of `routes.stats`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatsParams {
    /// Only the route of this host, with its traffic on each node. If absent, the routes with traffic in the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The time by which the routes are selected and sorted; `hour` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// The order; `requests` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<TrafficOrder>,
    /// The maximum number of routes, from 1 to 1000; 20 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Adds the history of the last hours, from 1 to 720. Needs `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<u32>,
}

/// A time that ends now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// The last 60 to 70 seconds.
    Minute,
    /// The last 60 to 61 minutes.
    #[default]
    Hour,
    /// The last 24 to 25 hours.
    Day,
}

/// The order of routes; the ones with the most come first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrafficOrder {
    /// By the number of requests and passthrough connections.
    #[default]
    Requests,
    /// By the number of bytes in both directions.
    Bytes,
}

/// Result of `routes.stats`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RouteStatsList {
    /// The routes, those with the most traffic first.
    pub routes: Vec<RouteStats>,
    /// The number of routes with traffic in the window, which may exceed the number of `routes`.
    pub total: u64,
}

/// The traffic of a route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RouteStats {
    /// The route's id.
    pub id: String,
    /// The key id of the route's owner.
    pub owner: String,
    /// The route's host name.
    pub host: String,
    /// The TLS mode.
    pub mode: Mode,
    /// The traffic on all nodes.
    #[serde(flatten)]
    pub all: TrafficWindows,
    /// The traffic on each node, if one host was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeTraffic>,
    /// The traffic in each hour that had any, oldest first, if `hours` was given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HourTraffic>,
}

/// The traffic of a route on one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeTraffic {
    /// The node's name.
    pub node: String,
    /// The traffic.
    #[serde(flatten)]
    pub traffic: TrafficWindows,
}

/// The traffic in one hour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HourTraffic {
    /// The start of the hour (RFC 3339).
    pub hour: String,
    /// The traffic on all nodes.
    #[serde(flatten)]
    pub traffic: TrafficView,
}

/// The traffic in the last minute, hour and day.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrafficWindows {
    /// The connections that are open now: of clients whose TLS is for this host, or that are passed through.
    pub open: u64,
    /// The last 60 to 70 seconds.
    pub minute: TrafficView,
    /// The last 60 to 61 minutes.
    pub hour: TrafficView,
    /// The last 24 to 25 hours.
    pub day: TrafficView,
}

/// The counts of some traffic.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrafficView {
    /// The requests.
    pub requests: u64,
    /// The responses, by the class of their status.
    pub responses: ResponseClasses,
    /// The requests that ended before they had a response, because the client went away.
    pub cancelled: u64,
    /// The passthrough connections.
    pub connections: u64,
    /// The errors, by their type in `Proxy-Status` (RFC 9209).
    pub errors: BTreeMap<String, u64>,
    /// The bytes that clients sent: bodies of requests, and tunnels.
    pub received_bytes: u64,
    /// The bytes that clients were sent: bodies of responses, and tunnels.
    pub sent_bytes: u64,
    /// The time from a request to the head of its response; absent without responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyView>,
}

/// The numbers of responses by the class of their status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResponseClasses {
    /// Protocols switched: WebSockets.
    #[serde(rename = "1xx")]
    pub informational: u64,
    /// Successes.
    #[serde(rename = "2xx")]
    pub success: u64,
    /// Redirections.
    #[serde(rename = "3xx")]
    pub redirection: u64,
    /// Errors of clients.
    #[serde(rename = "4xx")]
    pub client_error: u64,
    /// Errors of the backend or the gateway.
    #[serde(rename = "5xx")]
    pub server_error: u64,
}

/// Quantiles of latencies, in seconds. They are estimates that may be wrong by a quarter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyView {
    /// The median.
    pub p50: f64,
    /// The time that 90 % of the requests do not exceed.
    pub p90: f64,
    /// The time that 99 % of the requests do not exceed.
    pub p99: f64,
}

/// Params of `routes.logs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogsParams {
    /// The host of the route.
    pub host: String,
    /// The `cursor` of the previous result. If absent, the nodes begin to send lines, and the call returns at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// The maximum time to wait for a line, in seconds from 1 to 20. If absent, the call returns at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<u64>,
}

/// Result of `routes.logs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogPage {
    /// The number of connected nodes, which send the lines.
    pub nodes: u64,
    /// The `after` of the next call.
    pub cursor: u64,
    /// The lines since the previous call, in the order of their arrival.
    pub lines: Vec<LogLine>,
    /// The number of lines that were left out since the previous call, because there were too many.
    pub left_out: u64,
}

/// A request, or a passthrough connection, at its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// The time of the end (RFC 3339).
    pub time: String,
    /// The node that served it.
    pub node: String,
    /// The client's address.
    pub client: String,
    /// The method; absent for a passthrough connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The path without the query, at most 256 characters; absent for a passthrough connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The status of the response; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The type of the error (RFC 9209), if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The bytes that the client sent: the body of the request, or the tunnel.
    pub received_bytes: u64,
    /// The bytes that the client was sent: the body of the response, or the tunnel.
    pub sent_bytes: u64,
    /// The time from the beginning to the end, in seconds.
    pub duration: f64,
    /// The `X-Request-Id` of the request, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}
