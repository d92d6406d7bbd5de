//! The methods `routes.stats` and `routes.logs`: the traffic of routes, and their access log while it is followed.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;
use webgateway_proto::api::{
    self, HourTraffic, LONGEST_WAIT, LatencyView, LogLine, LogPage, LogsParams, NodeTraffic, ResponseClasses,
    RouteStats, RouteStatsList, StatsParams, TrafficOrder, TrafficView, method,
};
use webgateway_proto::feed::AccessLine;
use webgateway_proto::model::{Host, Latencies, Traffic};

use super::method::{Example, Method, Services};
use super::samples;
use crate::api::errors::ErrorKind;
use crate::clock::rfc3339;
use crate::domain::{Caller, DomainError, RouteTraffic, TrafficQuery, TrafficWindows};
use crate::traffic::{LogEntries, LogEntry, Window};

pub(super) struct Stats;
pub(super) struct Logs;

impl Method for Stats {
    const NAME: &'static str = method::ROUTES_STATS;
    const SUMMARY: &'static str = "Returns the traffic of the caller's routes in the last minute, hour and day; for the admin, of all routes";
    const DESCRIPTION: &'static str = "\
        Nodes report every few seconds. With `host`, the result is that route, with its traffic on each node. \
        Without, it is the routes with traffic in the window, those with the most first. Hourly counts are \
        kept for 30 days, or until the route is deleted.";
    const ERRORS: &'static [ErrorKind] =
        &[ErrorKind::InvalidHost, ErrorKind::RouteNotFound, ErrorKind::InvalidLimit];
    type Caller = Caller;
    type Params = StatsParams;
    type Output = RouteStatsList;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        samples::stats()
    }

    async fn call(
        services: &Services,
        caller: Caller,
        params: StatsParams,
    ) -> Result<RouteStatsList, DomainError> {
        let StatsParams { host, window, sort, limit, hours } = params;
        if let Some(host) = host {
            let host = parse_host(&host)?;
            let found = services.domain.host_traffic(&caller, &host, hours).await?;
            let nodes = found
                .nodes
                .iter()
                .map(|(node, traffic)| NodeTraffic { node: node.clone(), traffic: windows(traffic) });
            let nodes = nodes.collect();
            return Ok(RouteStatsList { routes: vec![RouteStats { nodes, ..stats(found) }], total: 1 });
        }
        if hours.is_some() {
            return Err(DomainError::Hours(api::MAX_HOURS));
        }
        let query = TrafficQuery {
            window: match window.unwrap_or_default() {
                api::Window::Minute => Window::Minute,
                api::Window::Hour => Window::Hour,
                api::Window::Day => Window::Day,
            },
            by_bytes: sort.unwrap_or_default() == TrafficOrder::Bytes,
            limit,
        };
        let (found, total) = services.domain.list_traffic(&caller, &query).await?;
        Ok(RouteStatsList { routes: found.into_iter().map(stats).collect(), total })
    }
}

fn parse_host(text: &str) -> Result<Host, DomainError> {
    Host::parse(text).map_err(|error| DomainError::InvalidHost("host", error))
}

fn stats(RouteTraffic { route, nodes, history }: RouteTraffic) -> RouteStats {
    let mut all = TrafficWindows::default();
    nodes.values().for_each(|node| all.add(node));
    RouteStats {
        id: route.id.to_string(),
        owner: route.owner.to_string(),
        host: route.host.to_string(),
        mode: route.destination.mode,
        all: windows(&all),
        nodes: Vec::new(),
        history: hours(&history),
    }
}

fn hours(history: &BTreeMap<i64, Traffic>) -> Vec<HourTraffic> {
    let start = |hour: i64| OffsetDateTime::from_unix_timestamp(hour.saturating_mul(3600)).map(rfc3339);
    let one = |(hour, traffic): (&i64, &Traffic)| HourTraffic {
        hour: start(*hour).unwrap_or_default(),
        traffic: view(traffic),
    };
    history.iter().map(one).collect()
}

fn windows(windows: &TrafficWindows) -> api::TrafficWindows {
    api::TrafficWindows {
        open: windows.recent.open,
        minute: view(&windows.recent.minute),
        hour: view(&windows.recent.hour),
        day: view(&windows.day),
    }
}

fn view(traffic: &Traffic) -> TrafficView {
    let [informational, success, redirection, client_error, server_error] = traffic.responses;
    TrafficView {
        requests: traffic.requests(),
        responses: ResponseClasses { informational, success, redirection, client_error, server_error },
        cancelled: traffic.cancelled,
        connections: traffic.connections,
        errors: traffic.errors.clone(),
        received_bytes: traffic.received,
        sent_bytes: traffic.sent,
        latency: latency(&traffic.latencies),
    }
}

fn latency(latencies: &Latencies) -> Option<LatencyView> {
    let quantile = |quantile| latencies.quantile(quantile).map(|latency| latency.as_secs_f64());
    Some(LatencyView { p50: quantile(0.5)?, p90: quantile(0.9)?, p99: quantile(0.99)? })
}

impl Method for Logs {
    const NAME: &'static str = method::ROUTES_LOGS;
    const SUMMARY: &'static str = "Returns the lines of a route's access log while the caller follows it";
    const DESCRIPTION: &'static str = "\
        Nothing is kept: the nodes send lines from the first call on, until there was no call for 30 s. The \
        first call, without `after`, returns a `cursor`; each further call passes the `cursor` of the result \
        before as `after`, and waits for lines with `wait`. A line is written when a request or a passthrough \
        connection has ended. Each node sends at most 50 lines per second; `left_out` counts the others. A \
        caller follows at most 16 routes at once.";
    const ERRORS: &'static [ErrorKind] =
        &[ErrorKind::InvalidHost, ErrorKind::RouteNotFound, ErrorKind::InvalidWait, ErrorKind::RateLimited];
    type Caller = Caller;
    type Params = LogsParams;
    type Output = LogPage;

    fn examples() -> Vec<Example<Self::Params, Self::Output>> {
        samples::logs()
    }

    async fn call(services: &Services, caller: Caller, params: LogsParams) -> Result<LogPage, DomainError> {
        let LogsParams { host, after, wait } = params;
        let host = parse_host(&host)?;
        if wait.is_some_and(|wait| !(1..=LONGEST_WAIT).contains(&wait) || after.is_none()) {
            return Err(DomainError::WaitForLines(LONGEST_WAIT));
        }
        let domain = &services.domain;
        let route = domain.follow_log(&caller, &host).await?;
        if let (Some(after), Some(limit)) = (after, wait) {
            let arrived = domain.traffic.followers.wait(route, after);
            services.long_polls.wait(caller.key_id(), Duration::from_secs(limit), arrived).await?;
        }
        let LogEntries { entries, lost, cursor } = domain.read_log(&caller, route, after);
        let nodes = domain.nodes.nodes().iter().filter(|node| node.connected).count() as u64;
        let (mut lines, mut left_out) = (Vec::with_capacity(entries.len()), lost);
        for entry in entries {
            match entry {
                LogEntry::Line { node, line } => lines.push(log_line(&node, line)),
                LogEntry::LeftOut(count) => left_out += count,
            }
        }
        Ok(LogPage { nodes, cursor, lines, left_out })
    }
}

fn log_line(node: &str, line: AccessLine) -> LogLine {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(line.at) * 1_000_000);
    let is_request = !line.method.is_empty();
    LogLine {
        time: time.map(rfc3339).unwrap_or_default(),
        node: node.to_owned(),
        client: line.client.to_string(),
        method: is_request.then_some(line.method),
        path: is_request.then_some(line.path),
        status: line.status,
        error: line.error,
        received_bytes: line.received,
        sent_bytes: line.sent,
        duration: Duration::from_micros(line.took).as_secs_f64(),
        request_id: line.request_id,
    }
}
