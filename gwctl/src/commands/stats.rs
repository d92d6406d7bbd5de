//! The command `gwctl routes stats`, which shows the traffic of routes, also again and again.

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use gwctl::Client;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};
use webgateway_proto::api::{
    LatencyView, RouteStats, RouteStatsList, StatsParams, TrafficView, TrafficWindows, Window, method,
};
use webgateway_proto::model::Mode;

use super::watch::until_interrupted;
use crate::cli::Format;
use crate::error::CommandError;
use crate::output::{self, OutputOptions, Report, table};
use crate::printable::printable;
use crate::trace::RetryNotice;

/// The interval of `--watch`. Nodes report every 2 s.
const INTERVAL: Duration = Duration::from_secs(2);
/// The control sequence that clears a terminal and moves to its first line.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Runs `gwctl routes stats`.
pub(super) async fn stats(
    client: &Client,
    params: &StatsParams,
    format: Format,
) -> Result<Report, CommandError> {
    Ok(report(client.call(method::ROUTES_STATS, params).await?, params, format))
}

/// Runs `gwctl routes stats --watch` until the user interrupts it or the reader closes stdout.
pub(super) async fn watch(
    client: Client,
    params: &StatsParams,
    options: OutputOptions,
) -> Result<(), CommandError> {
    until_interrupted(show_repeatedly(client, params, options)).await
}

async fn show_repeatedly(
    client: Client,
    params: &StatsParams,
    options: OutputOptions,
) -> Result<(), CommandError> {
    let mut result: Value = client.call(method::ROUTES_STATS, params).await?;
    let (notice, client) = (RetryNotice::new(options.format), client.retry_for(Duration::MAX));
    let client = if options.verbose { client } else { client.observed_by(notice.clone()) };
    loop {
        let next = Instant::now() + INTERVAL;
        let text = match options.format {
            Format::Table | Format::Wide => {
                let text = report(result, params, options.format).into_text()?;
                if stdout().is_terminal() { format!("{CLEAR}{text}\n") } else { format!("{text}\n\n") }
            }
            Format::Json => format!("{result}\n"),
            Format::Yaml => format!("---\n{}\n", output::yaml(&result)?.trim_end()),
        };
        if !output::write_stdout(&text)? {
            return Ok(());
        }
        sleep_until(next).await;
        result = client.call(method::ROUTES_STATS, params).await?;
        notice.call_succeeded();
    }
}

fn report(result: Value, params: &StatsParams, format: Format) -> Report {
    let (is_one, window) = (params.host.is_some(), params.window.unwrap_or_default());
    Report::from_result(result, |list: RouteStatsList| match list.routes.as_slice() {
        [route] if is_one => details(route),
        _ => routes_table(&list, window, format == Format::Wide),
    })
}

const COLUMNS: [&str; 12] =
    ["REQUESTS", "1xx", "2xx", "3xx", "4xx", "5xx", "IN", "OUT", "P50", "P90", "P99", "ERRORS"];

/// Returns the cells of some traffic for [`COLUMNS`]. A passthrough route has connections instead of requests.
fn cells(mode: Mode, traffic: &TrafficView) -> [String; 12] {
    let classes = &traffic.responses;
    let classes = [
        classes.informational,
        classes.success,
        classes.redirection,
        classes.client_error,
        classes.server_error,
    ];
    let [c1, c2, c3, c4, c5] = match mode {
        Mode::Terminate => classes.map(|count| count.to_string()),
        Mode::Passthrough => classes.map(|_| "-".to_owned()),
    };
    let count = match mode {
        Mode::Terminate => traffic.requests,
        Mode::Passthrough => traffic.connections,
    };
    let quantile = |of: fn(&LatencyView) -> f64| {
        traffic.latency.as_ref().map_or_else(|| "-".to_owned(), |latency| seconds(of(latency)))
    };
    let cancelled = Some(("client gone", traffic.cancelled)).filter(|(_, count)| *count > 0);
    let errors = traffic.errors.iter().map(|(kind, count)| (kind.as_str(), *count)).chain(cancelled);
    let errors: Vec<String> = errors.map(|(kind, count)| format!("{count} {kind}")).collect();
    [
        count.to_string(),
        c1,
        c2,
        c3,
        c4,
        c5,
        size(traffic.received_bytes),
        size(traffic.sent_bytes),
        quantile(|latency| latency.p50),
        quantile(|latency| latency.p90),
        quantile(|latency| latency.p99),
        if errors.is_empty() { "-".to_owned() } else { errors.join(", ") },
    ]
}

/// Formats seconds with three digits, in the unit that fits.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds {
        ..0.001 => format!("{:.0}us", seconds * 1e6),
        ..0.1 => format!("{:.1}ms", seconds * 1e3),
        ..1.0 => format!("{:.0}ms", seconds * 1e3),
        _ => format!("{seconds:.1}s"),
    }
}

/// Formats a number of bytes in the unit that fits.
#[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
pub(super) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut rest = bytes as f64;
    let mut unit = "B";
    for larger in units {
        if rest < 1024.0 {
            break;
        }
        (rest, unit) = (rest / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes}B") } else { format!("{rest:.1}{unit}") }
}

/// Returns the columns of a list that fits 80 columns.
fn narrow<T>(columns: [T; 12]) -> [T; 7] {
    let [requests, _, _, _, client_errors, server_errors, received, sent, p50, _, p99, _] = columns;
    [requests, client_errors, server_errors, received, sent, p50, p99]
}

fn routes_table(list: &RouteStatsList, window: Window, is_wide: bool) -> String {
    let (word, of): (_, fn(&TrafficWindows) -> &TrafficView) = match window {
        Window::Minute => ("minute", |all| &all.minute),
        Window::Hour => ("hour", |all| &all.hour),
        Window::Day => ("day", |all| &all.day),
    };
    if list.routes.is_empty() {
        return format!("No traffic in the last {word}.");
    }
    let rows = list
        .routes
        .iter()
        .map(|route| ([route.host.clone(), route.all.open.to_string()], cells(route.mode, of(&route.all))));
    let mut text = if is_wide {
        table(with_label(["HOST", "OPEN"], COLUMNS), rows.map(|(label, cells)| with_label(label, cells)))
    } else {
        let [a, b, c, d, e, f, g] = narrow(COLUMNS);
        let rows = rows.map(|([host, open], cells)| {
            let [a, b, c, d, e, f, g] = narrow(cells);
            [host, open, a, b, c, d, e, f, g]
        });
        table(["HOST", "OPEN", a, b, c, d, e, f, g], rows)
    };
    let more = list.total.saturating_sub(list.routes.len() as u64);
    if more > 0 {
        text += &format!("\n{more} more routes have traffic in the last {word}: -n shows more");
    }
    text
}

fn with_label<T>([first, second]: [T; 2], columns: [T; 12]) -> [T; 14] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = columns;
    [first, second, a, b, c, d, e, f, g, h, i, j, k, l]
}

/// The traffic of one of the windows.
type SelectWindow = fn(&TrafficWindows) -> &TrafficView;

fn details(route: &RouteStats) -> String {
    let connections = if route.all.open == 1 { "connection" } else { "connections" };
    let mut text =
        format!("{} ({}): {} open {connections}\n\n", printable(&route.host), route.mode, route.all.open);
    let sources = [("all", &route.all)].into_iter().chain(
        // With one node there is nothing to tell apart.
        route.nodes.iter().filter(|_| route.nodes.len() > 1).map(|node| (node.node.as_str(), &node.traffic)),
    );
    let windows: [(&str, SelectWindow); 3] =
        [("minute", |all| &all.minute), ("hour", |all| &all.hour), ("day", |all| &all.day)];
    let rows = windows.iter().flat_map(|(word, of)| {
        sources.clone().map(|(node, traffic)| {
            with_label([(*word).to_owned(), node.to_owned()], cells(route.mode, of(traffic)))
        })
    });
    text += &table(with_label(["LAST", "NODE"], columns_of(route.mode)), rows);
    if !route.history.is_empty() {
        let rows = route
            .history
            .iter()
            .map(|hour| with_label([hour.hour.clone(), "all".to_owned()], cells(route.mode, &hour.traffic)));
        text += &format!("\n\n{}", table(with_label(["HOUR", "NODE"], columns_of(route.mode)), rows));
    }
    text
}

fn columns_of(mode: Mode) -> [&'static str; 12] {
    match mode {
        Mode::Terminate => COLUMNS,
        Mode::Passthrough => {
            let [_, rest @ ..] = COLUMNS;
            let [a, b, c, d, e, f, g, h, i, j, k] = rest;
            ["CONNECTIONS", a, b, c, d, e, f, g, h, i, j, k]
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use webgateway_proto::api::{HourTraffic, NodeTraffic, ResponseClasses};

    use super::*;

    fn traffic(requests: u64) -> TrafficView {
        TrafficView {
            requests,
            responses: ResponseClasses { success: requests, ..ResponseClasses::default() },
            errors: BTreeMap::from([("connection_refused".to_owned(), 2)]),
            cancelled: 1,
            received_bytes: 1023,
            sent_bytes: 1536,
            latency: Some(LatencyView { p50: 0.000_4, p90: 0.012_34, p99: 1.25 }),
            ..TrafficView::default()
        }
    }

    fn route(nodes: usize) -> RouteStats {
        let all = TrafficWindows { open: 1, minute: traffic(1), hour: traffic(2), day: traffic(3) };
        let node = |n| NodeTraffic { node: format!("edge{n}"), traffic: all.clone() };
        RouteStats {
            id: "01999999-9999-7999-8999-999999999999".into(),
            owner: "me.pub".into(),
            host: "app.gw.example".into(),
            mode: Mode::Terminate,
            nodes: (1..=nodes).map(node).collect(),
            history: vec![HourTraffic { hour: "2026-03-02T10:00:00Z".into(), traffic: traffic(2) }],
            all,
        }
    }

    #[test]
    fn a_route_has_a_line_for_each_window_and_node() {
        let text = details(&route(2));
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = text.lines().map(words).collect();
        assert_eq!(lines[0], "app.gw.example (terminate): 1 open connection");
        assert_eq!(lines[2], "LAST NODE REQUESTS 1xx 2xx 3xx 4xx 5xx IN OUT P50 P90 P99 ERRORS");
        let rest = "0 0 0 1023B 1.5KiB 400us 12.3ms 1.2s 2 connection_refused, 1 client gone";
        assert_eq!(lines[3], format!("minute all 1 0 1 {rest}"));
        assert_eq!(lines[8], format!("hour edge2 2 0 2 {rest}"));
        assert_eq!(lines[14], format!("2026-03-02T10:00:00Z all 2 0 2 {rest}"));
        assert_eq!(details(&route(1)).lines().count(), 9, "one node is all nodes");
    }

    #[test]
    fn a_list_says_how_many_routes_it_leaves_out() {
        let list = RouteStatsList { routes: vec![route(0)], total: 3 };
        let text = routes_table(&list, Window::Minute, false);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(routes_table(&list, Window::Minute, true).contains("2 connection_refused"));
        assert!(text.ends_with("\n2 more routes have traffic in the last minute: -n shows more"), "{text}");
        let none = RouteStatsList { routes: vec![], total: 0 };
        assert_eq!(routes_table(&none, Window::Day, true), "No traffic in the last day.");
    }

    #[test]
    fn a_passthrough_route_has_connections() {
        let passed = TrafficView { connections: 7, ..TrafficView::default() };
        let cells = cells(Mode::Passthrough, &passed);
        assert_eq!(cells[..3], ["7", "-", "-"]);
        assert_eq!(columns_of(Mode::Passthrough)[0], "CONNECTIONS");
    }

    #[test]
    fn sizes_and_times_have_units() {
        let sizes = [0, 1023, 1024, 1_048_576, u64::MAX].map(size);
        assert_eq!(sizes, ["0B", "1023B", "1.0KiB", "1.0MiB", "16.0EiB"]);
        assert_eq!([0.0, 0.05, 0.1, 0.5, 75.0].map(seconds), ["0us", "50.0ms", "100ms", "500ms", "75.0s"]);
    }
}
