//! The output of `--verbose` and the notices about retries, on stderr. This module has no access to the private key.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gwctl::{CallError, Observer};
use http::{HeaderMap, Request, Response};

use crate::cli::Format;
use crate::output;
use crate::printable::printable;

/// The time after which the user is told that a call is being retried.
const NOTICE_DELAY: Duration = Duration::from_secs(2);

/// The observer for `--verbose`, which prints requests, responses and retries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trace;

/// An observer that warns once when calls are being retried, and once when the gateway responds again.
#[derive(Debug, Clone)]
pub(crate) struct RetryNotice {
    format: Format,
    /// The time that a call may take before the warning.
    after: Duration,
    is_shown: Arc<AtomicBool>,
}

impl RetryNotice {
    /// Creates a notice that warns at the first retry.
    pub(crate) fn new(format: Format) -> Self {
        Self { format, after: Duration::ZERO, is_shown: Arc::default() }
    }

    /// Creates a notice that warns only when the retries of a call take longer than [`NOTICE_DELAY`].
    pub(crate) fn delayed(format: Format) -> Self {
        Self { after: NOTICE_DELAY, ..Self::new(format) }
    }

    /// Ends a series of retries: after the warning, prints that the gateway responds again.
    pub(crate) fn call_succeeded(&self) {
        if self.is_shown.swap(false, Ordering::Relaxed) {
            output::warn(self.format, "the gateway responds again");
        }
    }
}

impl Observer for RetryNotice {
    fn retry(&self, error: &CallError, pause: Duration, elapsed: Duration) {
        if elapsed.saturating_add(pause) >= self.after && !self.is_shown.swap(true, Ordering::Relaxed) {
            output::warn(self.format, &format!("{error}; retrying"));
        }
    }
}

impl Observer for Trace {
    fn request(&self, request: &Request<Bytes>, base: Option<&str>) {
        let mut lines = vec![format!("{} {} {:?}", request.method(), request.uri(), request.version())];
        lines.extend(message_lines(request.headers(), request.body()));
        print_lines(">", &lines);
        if let Some(base) = base {
            print_lines("*", &["signature base:".to_owned()]);
            print_lines("|", &base.lines().map(str::to_owned).collect::<Vec<_>>());
        }
    }

    fn response(&self, response: &Response<Bytes>) {
        let mut lines = vec![format!("{:?} {}", response.version(), response.status())];
        lines.extend(message_lines(response.headers(), response.body()));
        print_lines("<", &lines);
    }

    fn retry(&self, error: &CallError, pause: Duration, _: Duration) {
        print_lines("*", &[format!("{error}; retrying in {:.1} s", pause.as_secs_f64())]);
    }
}

fn print_lines(mark: &str, lines: &[String]) {
    let text: String = lines.iter().map(|line| format!("{mark} {}\n", printable(line))).collect();
    // If stderr is closed, the output is lost: that is no reason to fail.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Formats the headers and the body of a message.
fn message_lines(headers: &HeaderMap, body: &Bytes) -> Vec<String> {
    let value = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut lines: Vec<String> = headers.iter().map(|(name, v)| format!("{name}: {}", value(v))).collect();
    lines.push(String::new());
    lines.extend(String::from_utf8_lossy(body).lines().map(str::to_owned));
    lines
}
