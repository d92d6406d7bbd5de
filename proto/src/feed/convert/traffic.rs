//! Conversions of traffic reports and access log lines from and to the wire.

use bytes::Bytes;

use crate::feed::traffic::{AccessLine, AccessLines, MAX_LINE_TEXT, RouteTraffic, TrafficReport};
use crate::feed::wire;
use crate::model::{MAX_ERROR_KINDS, RouteId, Traffic};

/// The maximum length of an error's kind, in bytes.
const MAX_ERROR_KIND: usize = 64;

/// Reads a report. Routes without a valid id are skipped.
pub(super) fn read_report(wire: wire::TrafficReport) -> TrafficReport {
    let routes = wire.routes.into_iter().filter_map(read_route).collect();
    TrafficReport { instance: wire.instance, sequence: wire.sequence, routes }
}

/// Writes a report.
pub(super) fn write_report(report: &TrafficReport) -> wire::TrafficReport {
    wire::TrafficReport {
        instance: report.instance,
        sequence: report.sequence,
        routes: report.routes.iter().map(write_route).collect(),
    }
}

/// Reads the ids of routes. Invalid ones are skipped.
pub(super) fn read_ids(ids: &[Bytes]) -> Vec<RouteId> {
    ids.iter().filter_map(read_id).collect()
}

/// Writes the id of a route.
pub(super) fn write_id(id: &RouteId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

fn read_id(id: &Bytes) -> Option<RouteId> {
    Some(RouteId::from_bytes(id.as_ref().try_into().ok()?))
}

fn read_route(wire: wire::RouteTraffic) -> Option<RouteTraffic> {
    let mut traffic = Traffic {
        cancelled: wire.cancelled,
        connections: wire.connections,
        received: wire.received,
        sent: wire.sent,
        ..Traffic::default()
    };
    for (count, sent) in traffic.responses.iter_mut().zip(wire.responses) {
        *count = sent;
    }
    let is_kind = |kind: &str| {
        (1..=MAX_ERROR_KIND).contains(&kind.len())
            && kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    for wire::ErrorCount { kind, count } in wire.errors.into_iter().take(MAX_ERROR_KINDS + 1) {
        if is_kind(&kind) {
            traffic.add_errors(&kind, count);
        }
    }
    for wire::LatencyCount { bucket, count } in wire.latencies {
        traffic.latencies.add_to_bucket(bucket as usize, count);
    }
    Some(RouteTraffic { route: read_id(&wire.route)?, open: wire.open, traffic })
}

fn write_route(RouteTraffic { route, open, traffic }: &RouteTraffic) -> wire::RouteTraffic {
    let error = |(kind, count): (&String, &u64)| wire::ErrorCount { kind: kind.clone(), count: *count };
    let latency = |(bucket, count): (u8, u64)| wire::LatencyCount { bucket: bucket.into(), count };
    wire::RouteTraffic {
        route: write_id(route),
        open: *open,
        responses: traffic.responses.to_vec(),
        cancelled: traffic.cancelled,
        connections: traffic.connections,
        errors: traffic.errors.iter().map(error).collect(),
        received: traffic.received,
        sent: traffic.sent,
        latencies: traffic.latencies.buckets().map(latency).collect(),
    }
}

/// Reads lines; `None` if the id of the route is invalid. Lines without a valid client are skipped.
pub(super) fn read_lines(wire: wire::AccessLines) -> Option<AccessLines> {
    let lines = wire.lines.into_iter().filter_map(read_line).collect();
    Some(AccessLines { route: read_id(&wire.route)?, lines, left_out: wire.left_out })
}

/// Writes lines.
pub(super) fn write_lines(lines: &AccessLines) -> wire::AccessLines {
    wire::AccessLines {
        route: write_id(&lines.route),
        lines: lines.lines.iter().map(write_line).collect(),
        left_out: lines.left_out,
    }
}

fn read_line(wire: wire::AccessLine) -> Option<AccessLine> {
    let cut = |text: String| match text.char_indices().nth(MAX_LINE_TEXT) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    };
    let given = |text: String| Some(cut(text)).filter(|text| !text.is_empty());
    Some(AccessLine {
        at: wire.at_ms,
        client: wire.client.parse().ok()?,
        method: cut(wire.method),
        path: cut(wire.path),
        status: u16::try_from(wire.status).ok().filter(|status| *status > 0),
        error: given(wire.error),
        received: wire.received,
        sent: wire.sent,
        took: wire.took_us,
        request_id: given(wire.request_id),
    })
}

fn write_line(line: &AccessLine) -> wire::AccessLine {
    wire::AccessLine {
        at_ms: line.at,
        client: line.client.to_string(),
        method: line.method.clone(),
        path: line.path.clone(),
        status: line.status.unwrap_or_default().into(),
        error: line.error.clone().unwrap_or_default(),
        received: line.received,
        sent: line.sent,
        took_us: line.took,
        request_id: line.request_id.clone().unwrap_or_default(),
    }
}
