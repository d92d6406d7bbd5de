//! The command `gwctl routes logs --follow`, which prints a line for each request of a route.

use std::time::Duration;

use gwctl::Client;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};
use webgateway_proto::api::{LONGEST_WAIT, LogLine, LogPage, LogsParams, method};

use super::stats::{seconds, size};
use super::watch::until_interrupted;
use crate::cli::Format;
use crate::error::{CommandError, FailureKind};
use crate::output::{self, OutputOptions};
use crate::printable::printable;
use crate::trace::RetryNotice;

/// The minimum time between two calls.
const MIN_INTERVAL: Duration = Duration::from_millis(250);
/// The pause after an error, such as a gateway that was unavailable.
const RECOVERY_PAUSE: Duration = Duration::from_secs(1);

/// Prints lines until the user interrupts it, the reader closes stdout, or a permanent error occurs.
pub(super) async fn follow(
    client: Client,
    params: LogsParams,
    options: OutputOptions,
) -> Result<(), CommandError> {
    until_interrupted(print_lines(client, params, options)).await
}

async fn print_lines(
    client: Client,
    mut params: LogsParams,
    options: OutputOptions,
) -> Result<(), CommandError> {
    let notice = RetryNotice::new(options.format);
    let begin: Value = client.call(method::ROUTES_LOGS, &params).await?;
    let page: LogPage = parse(&begin)?;
    let nodes = if page.nodes == 1 { "node" } else { "nodes" };
    let text = format!("following {} on {} {nodes}; nothing is kept, Ctrl-C ends", params.host, page.nodes);
    output::note(options.format, &text);
    (params.after, params.wait) = (Some(page.cursor), Some(LONGEST_WAIT));
    let (once, retrying) = (client.clone().retry_for(Duration::ZERO), client.retry_for(Duration::MAX));
    let retrying = if options.verbose { retrying } else { retrying.observed_by(notice.clone()) };
    loop {
        let (mut next, result) =
            (Instant::now() + MIN_INTERVAL, once.call(method::ROUTES_LOGS, &params).await);
        let result: Value = match result {
            Ok(result) => result,
            // A permanent error occurs again here and ends the command. After a transient one the call does not wait, so
            // that the user soon learns that the gateway responds again.
            Err(_) => {
                let now = LogsParams { wait: None, ..params.clone() };
                let result = retrying.call(method::ROUTES_LOGS, &now).await?;
                notice.call_succeeded();
                next = Instant::now() + RECOVERY_PAUSE;
                result
            }
        };
        params.after = Some(parse(&result)?.cursor);
        if !output::write_stdout(&format_page(&result, options.format)?)? {
            return Ok(());
        }
        sleep_until(next).await;
    }
}

fn parse(result: &Value) -> Result<LogPage, CommandError> {
    serde_json::from_value(result.clone()).map_err(|error| {
        let message = format!("the gateway's response has an unexpected format: {error}");
        CommandError::new(FailureKind::Unexpected, message)
    })
}

/// Formats the lines of a page, and how many were left out. In JSON each line is the gateway's own object.
fn format_page(result: &Value, format: Format) -> Result<String, CommandError> {
    let left_out = result["left_out"].as_u64().filter(|count| *count > 0);
    if matches!(format, Format::Table | Format::Wide) {
        let lines: String = parse(result)?.lines.iter().map(|line| line_text(line) + "\n").collect();
        let left_out = left_out.map(|count| format!("({count} lines left out, too many per second)\n"));
        return Ok(lines + &left_out.unwrap_or_default());
    }
    let lines = result["lines"].as_array().into_iter().flatten().cloned();
    let all = lines.chain(left_out.map(|count| json!({ "left_out": count })));
    match format {
        Format::Yaml => all.map(|line| Ok(format!("---\n{}\n", output::yaml(&line)?.trim_end()))).collect(),
        Format::Table | Format::Wide | Format::Json => Ok(all.map(|line| format!("{line}\n")).collect()),
    }
}

fn line_text(line: &LogLine) -> String {
    let or_dash = |text: &Option<String>| text.as_deref().map_or_else(|| "-".into(), printable).into_owned();
    let (request, status) = match &line.method {
        Some(method) => (format!("{} {}", printable(method), or_dash(&line.path)), line.status),
        None => ("connection".to_owned(), None),
    };
    let mut text = format!(
        "{} {} {} {request} {} in {} out {} {}",
        printable(&line.time),
        printable(&line.node),
        printable(&line.client),
        status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
        size(line.received_bytes),
        size(line.sent_bytes),
        seconds(line.duration),
    );
    for (name, value) in [("error", &line.error), ("id", &line.request_id)] {
        if let Some(value) = value {
            text += &format!(" {name}={}", printable(value));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(left_out: u64) -> Value {
        json!({ "nodes": 1, "cursor": 9, "left_out": left_out, "lines": [
            { "time": "2026-03-02T10:05:14.02Z", "node": "edge1", "client": "192.0.2.7", "method": "GET", "path": "/a\u{1b}",
              "status": 502, "error": "connection_refused", "received_bytes": 0, "sent_bytes": 5120, "duration": 0.0131,
              "request_id": "x1" },
            { "time": "2026-03-02T10:05:15Z", "node": "edge2", "client": "2001:db8::7", "received_bytes": 517,
              "sent_bytes": 3, "duration": 61.5 },
        ] })
    }

    #[test]
    fn each_request_and_connection_has_a_line() {
        let text = format_page(&page(12), Format::Table).unwrap();
        let expected = "\
2026-03-02T10:05:14.02Z edge1 192.0.2.7 GET /a\\u{1b} 502 in 0B out 5.0KiB 13.1ms error=connection_refused id=x1
2026-03-02T10:05:15Z edge2 2001:db8::7 connection - in 517B out 3B 61.5s
(12 lines left out, too many per second)
";
        assert_eq!(text, expected);
        assert_eq!(format_page(&page(0), Format::Table).unwrap().lines().count(), 2);
    }

    #[test]
    fn json_has_one_object_per_line() {
        let text = format_page(&page(12), Format::Json).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!((&lines[1]["node"], &lines[2]), (&json!("edge2"), &json!({ "left_out": 12 })));
        assert_eq!(format_page(&page(0), Format::Yaml).unwrap().matches("---\n").count(), 2);
    }
}
