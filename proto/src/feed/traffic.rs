//! The traffic that a node reports, and the lines of its access log that somebody follows.

use std::net::IpAddr;

use crate::model::{RouteId, Traffic};

/// The maximum number of routes in one report.
pub const MAX_REPORTED_ROUTES: usize = 500;
/// The maximum number of routes that are followed at once.
pub const MAX_FOLLOWED_ROUTES: usize = 128;
/// The maximum number of lines of one route that a node sends per second.
pub const LINES_PER_SECOND: u32 = 50;
/// The maximum length of a text in a line, in characters. Longer ones are cut.
pub const MAX_LINE_TEXT: usize = 256;

/// The traffic since a node's last report.
///
/// A node repeats a report until it is acknowledged; the controlplane counts it once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrafficReport {
    /// A random number that the node chose at its start.
    pub instance: u64,
    /// The number of the report since the node's start.
    pub sequence: u64,
    /// The routes with traffic, or whose number of open connections has changed.
    pub routes: Vec<RouteTraffic>,
}

/// The traffic of one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTraffic {
    /// The route.
    pub route: RouteId,
    /// The connections that are open now.
    pub open: u64,
    /// The traffic since the last report.
    pub traffic: Traffic,
}

/// Lines of the access log of a route that is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLines {
    /// The route.
    pub route: RouteId,
    /// The lines, oldest first.
    pub lines: Vec<AccessLine>,
    /// The number of lines that were left out, because there were more than [`LINES_PER_SECOND`].
    pub left_out: u64,
}

/// A request, or a connection that was passed through, at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLine {
    /// The time of the end, in Unix milliseconds.
    pub at: i64,
    /// The client's address.
    pub client: IpAddr,
    /// The method; empty for a connection that was passed through.
    pub method: String,
    /// The path, without the query, which may be confidential.
    pub path: String,
    /// The status of the response; `None` if there was none.
    pub status: Option<u16>,
    /// The type of the error (RFC 9209 §2.3), if there was one.
    pub error: Option<String>,
    /// The bytes that the client sent.
    pub received: u64,
    /// The bytes that the client was sent.
    pub sent: u64,
    /// The time from the beginning to the end, in microseconds.
    pub took: u64,
    /// The id of the request, if the client sent one.
    pub request_id: Option<String>,
}
