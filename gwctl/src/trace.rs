//! The output of `--verbose` and of retries, on stderr. The private key is never within reach here.

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

/// The time after which the user is told why a call takes so long.
const LONG: Duration = Duration::from_secs(2);

/// The observer of `--verbose`: it shows requests, responses and further attempts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trace;

/// A notice, once, that a call is tried again, and once that the gateway answers again.
#[derive(Debug, Clone)]
pub(crate) struct RetryNotice {
    format: Format,
    /// The time that a call may take before anything is said.
    after: Duration,
    is_said: Arc<AtomicBool>,
}

impl RetryNotice {
    /// A notice of any retry.
    pub(crate) fn new(format: Format) -> Self {
        Self { format, after: Duration::ZERO, is_said: Arc::default() }
    }

    /// A notice of retries that take long.
    pub(crate) fn if_long(format: Format) -> Self {
        Self { after: LONG, ..Self::new(format) }
    }

    /// Takes that a call was answered.
    pub(crate) fn answered(&self) {
        if self.is_said.swap(false, Ordering::Relaxed) {
            output::warn(self.format, "the gateway answers again");
        }
    }
}

impl Observer for RetryNotice {
    fn retry(&self, error: &CallError, pause: Duration, elapsed: Duration) {
        if elapsed.saturating_add(pause) >= self.after && !self.is_said.swap(true, Ordering::Relaxed) {
            output::warn(self.format, &format!("{error}: still trying"));
        }
    }
}

impl Observer for Trace {
    fn request(&self, request: &Request<Bytes>, base: Option<&str>) {
        let mut lines = vec![format!("{} {} {:?}", request.method(), request.uri(), request.version())];
        lines.extend(message(request.headers(), request.body()));
        show(">", &lines);
        if let Some(base) = base {
            show("*", &["signature base:".to_owned()]);
            show("|", &base.lines().map(str::to_owned).collect::<Vec<_>>());
        }
    }

    fn response(&self, response: &Response<Bytes>) {
        let mut lines = vec![format!("{:?} {}", response.version(), response.status())];
        lines.extend(message(response.headers(), response.body()));
        show("<", &lines);
    }

    fn retry(&self, error: &CallError, pause: Duration, _: Duration) {
        show("*", &[format!("{error}: once more in {:.1} s", pause.as_secs_f64())]);
    }
}

fn show(mark: &str, lines: &[String]) {
    let text: String = lines.iter().map(|line| format!("{mark} {}\n", printable(line))).collect();
    // Without stderr there is nobody to tell.
    let _ = io::stderr().write_all(text.as_bytes());
}

fn message(headers: &HeaderMap, body: &Bytes) -> Vec<String> {
    let value = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut lines: Vec<String> = headers.iter().map(|(name, v)| format!("{name}: {}", value(v))).collect();
    lines.push(String::new());
    lines.extend(String::from_utf8_lossy(body).lines().map(str::to_owned));
    lines
}
