//! `--wait`: a change is done when every connected node holds it.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use gwctl::Client;
use serde_json::Value;
use webgateway_proto::api::{WaitParams, WaitState, method};

use crate::cli::Format;
use crate::error::{CommandError, Kind};
use crate::output::OutputOptions;

/// The time that one call waits, in seconds; the gateway answers sooner when there is news.
const AT_ONCE: u64 = 10;

/// Waits until the nodes hold what a mutation returned, for `limit` at most.
pub(super) async fn wait(
    client: &Client,
    result: &Value,
    limit: Duration,
    options: OutputOptions,
) -> Result<(), CommandError> {
    let Some(version) = result.get("version").and_then(Value::as_u64) else {
        return Err(CommandError::new(Kind::Unexpected, "the gateway's answer has no version to wait for"));
    };
    let route = result.get("id").and_then(Value::as_str).map(str::to_owned);
    let until = Instant::now() + limit;
    let mut progress =
        Progress { shown: options.format == Format::Table && stderr().is_terminal(), width: 0 };
    let mut known = None;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        // The first answer comes at once, so that there is something to show.
        let timeout = if known.is_some() { left.as_secs().min(AT_ONCE) } else { 0 };
        let params = WaitParams { version, route: route.clone(), known, timeout };
        let state: WaitState = client.call(method::NODES_WAIT, &params).await?;
        progress.show(&state);
        match outcome(&state, version, left.is_zero().then_some(limit)) {
            Some(Ok(())) => return Ok(()),
            Some(Err(failure)) => {
                progress.end();
                return Err(failure);
            }
            None if timeout == 0 => tokio::time::sleep(left.min(Duration::from_millis(100))).await,
            None => {}
        }
        known = Some(state.acked);
    }
}

/// Returns how the wait ended, or `None` if it goes on; `late` is the time that was given, once it has passed.
fn outcome(state: &WaitState, version: u64, late: Option<Duration>) -> Option<Result<(), CommandError>> {
    let WaitState { nodes, acked, rejects } = state;
    let failure = |message: String, hint: &str| {
        Some(Err(CommandError {
            hint: Some(hint.to_owned()),
            ..CommandError::new(Kind::NotEverywhere, message)
        }))
    };
    if let Some(reason) = rejects.first() {
        let message = format!("{} of {nodes} nodes cannot use it: {reason}", rejects.len());
        return failure(
            message,
            "the change is stored, these nodes keep the last good one: update the route",
        );
    }
    if *nodes == 0 {
        let hint =
            "the change is stored, and a node takes it as soon as it is there: the operator must start one";
        return failure("no node is connected".to_owned(), hint);
    }
    if acked == nodes {
        return Some(Ok(()));
    }
    let message = format!("after {} s {acked} of {nodes} nodes hold version {version}", late?.as_secs());
    failure(
        message,
        "the change is stored, the others take it when they can; the operator sees them with `nodes.list`",
    )
}

/// One line on a terminal, written over and over.
struct Progress {
    shown: bool,
    width: usize,
}

impl Progress {
    fn show(&mut self, WaitState { nodes, acked, .. }: &WaitState) {
        if self.shown {
            let line = format!("{acked} of {nodes} nodes");
            self.width = self.width.max(line.len());
            // Who does not see it does not miss it.
            let _ = write!(stderr(), "\r{line:width$}", width = self.width).and_then(|()| stderr().flush());
        }
    }

    fn end(&mut self) {
        if self.shown {
            self.shown = false;
            let _ = writeln!(stderr());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_when_all_hold_it_or_one_cannot_or_none_is_there_or_time_is_up() {
        let state = |acked, nodes, rejects: &[&str]| WaitState {
            nodes,
            acked,
            rejects: rejects.iter().map(ToString::to_string).collect(),
        };
        let (late, said) = (Some(Duration::from_secs(30)), |over: Option<Result<(), CommandError>>| {
            over.map(|over| over.map_err(|failure| (failure.kind.exit_code(), failure.message)))
        });
        assert_eq!(said(outcome(&state(3, 3, &[]), 7, None)), Some(Ok(())));
        assert_eq!(said(outcome(&state(2, 3, &[]), 7, None)), None);
        let text = "after 30 s 2 of 3 nodes hold version 7".to_owned();
        assert_eq!(said(outcome(&state(2, 3, &[]), 7, late)), Some(Err((9, text))));
        let text = "no node is connected".to_owned();
        assert_eq!(said(outcome(&state(0, 0, &[]), 7, None)), Some(Err((9, text))));
        let text = "1 of 3 nodes cannot use it: too odd".to_owned();
        assert_eq!(said(outcome(&state(3, 3, &["too odd"]), 7, None)), Some(Err((9, text))));
    }
}
