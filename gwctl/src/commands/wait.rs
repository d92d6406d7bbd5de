//! The flag `--wait`: waiting until every connected node has applied a change.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use gwctl::Client;
use serde_json::Value;
use webgateway_proto::api::{WaitParams, WaitState, method};

use crate::error::{CommandError, FailureKind};
use crate::output::OutputOptions;

/// The maximum time that a single call waits, in seconds. The gateway responds earlier when the state changes.
const MAX_CALL_WAIT: u64 = 10;

/// Waits until every connected node has applied the mutation with this result, for at most `limit`.
pub(super) async fn wait(
    client: &Client,
    result: &Value,
    limit: Duration,
    options: OutputOptions,
) -> Result<(), CommandError> {
    let Some(version) = result.get("version").and_then(Value::as_u64) else {
        return Err(CommandError::new(
            FailureKind::Unexpected,
            "the gateway's response has no version to wait for",
        ));
    };
    let route = result.get("id").and_then(Value::as_str).map(str::to_owned);
    let deadline = Instant::now() + limit;
    let mut progress =
        ProgressLine { is_shown: options.format.is_text() && stderr().is_terminal(), width: 0 };
    let mut known = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // The first call returns at once, so that the progress is shown from the beginning.
        let timeout = if known.is_some() { left.as_secs().min(MAX_CALL_WAIT) } else { 0 };
        let params = WaitParams { version, route: route.clone(), known, timeout };
        let state: WaitState = client.call(method::NODES_WAIT, &params).await?;
        progress.show(&state);
        match wait_result(&state, version, left.is_zero().then_some(limit)) {
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

/// Returns the result of the wait, or `None` if it continues. `expired` is the time limit, once it has passed.
fn wait_result(
    state: &WaitState,
    version: u64,
    expired: Option<Duration>,
) -> Option<Result<(), CommandError>> {
    let WaitState { nodes, acked, rejects } = state;
    let failure = |message: String, hint: &str| {
        Some(Err(CommandError {
            hint: Some(hint.to_owned()),
            ..CommandError::new(FailureKind::NotEverywhere, message)
        }))
    };
    if let Some(reason) = rejects.first() {
        let message = format!("{} of {nodes} nodes rejected the change: {reason}", rejects.len());
        return failure(
            message,
            "the change is stored, but these nodes keep serving the previous version: update the route",
        );
    }
    if *nodes == 0 {
        let hint =
            "the change is stored, and nodes apply it when they connect: ask the operator to start one";
        return failure("no node is connected".to_owned(), hint);
    }
    if acked == nodes {
        return Some(Ok(()));
    }
    let message =
        format!("after {} s, {acked} of {nodes} nodes have applied version {version}", expired?.as_secs());
    failure(
        message,
        "the change is stored, and the other nodes will apply it later; the operator sees them with `gwctl nodes list`",
    )
}

/// A line on the terminal that is overwritten with the current progress.
struct ProgressLine {
    is_shown: bool,
    width: usize,
}

impl ProgressLine {
    fn show(&mut self, WaitState { nodes, acked, .. }: &WaitState) {
        if self.is_shown {
            let line = format!("{acked} of {nodes} nodes");
            self.width = self.width.max(line.len());
            // Progress that cannot be written is no reason to fail.
            let _ = write!(stderr(), "\r{line:width$}", width = self.width).and_then(|()| stderr().flush());
        }
    }

    fn end(&mut self) {
        if self.is_shown {
            self.is_shown = false;
            let _ = writeln!(stderr());
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_when_all_nodes_applied_or_one_rejected_or_none_is_connected_or_time_is_up() {
        let state = |acked, nodes, rejects: &[&str]| WaitState {
            nodes,
            acked,
            rejects: rejects.iter().map(ToString::to_string).collect(),
        };
        let (expired, summary) =
            (Some(Duration::from_secs(30)), |result: Option<Result<(), CommandError>>| {
                result.map(|result| result.map_err(|failure| (failure.kind.exit_code(), failure.message)))
            });
        assert_eq!(summary(wait_result(&state(3, 3, &[]), 7, None)), Some(Ok(())));
        assert_eq!(summary(wait_result(&state(2, 3, &[]), 7, None)), None);
        let text = "after 30 s, 2 of 3 nodes have applied version 7".to_owned();
        assert_eq!(summary(wait_result(&state(2, 3, &[]), 7, expired)), Some(Err((9, text))));
        let text = "no node is connected".to_owned();
        assert_eq!(summary(wait_result(&state(0, 0, &[]), 7, None)), Some(Err((9, text))));
        let text = "1 of 3 nodes rejected the change: too odd".to_owned();
        assert_eq!(summary(wait_result(&state(3, 3, &["too odd"]), 7, None)), Some(Err((9, text))));
    }
}
