//! Logging: one line per event on stderr, for people or, with `WEBGATEWAY_LOG_FORMAT=json`, for programs.
//!
//! Nothing else writes to stderr: it may be a pipe whose reader stalls or is gone, and that concerns the log alone.

mod queue;

use std::any::Any;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use thiserror::Error;
use tracing::error;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt, reload};

use self::queue::LogQueue;

/// The bytes of log lines that wait to be written.
const CAPACITY: usize = 1 << 20;
/// The longest that the end of the process waits for its last lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The lines that were lost.
static DROPPED: LazyLock<Counter> = LazyLock::new(Counter::default);
/// The queue before stderr, with its thread.
static STDERR: LazyLock<LogQueue> = LazyLock::new(start);
/// Changes what is logged; set when logging starts.
static SET_FILTER: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

/// The `log_level` is none.
#[derive(Debug, Error)]
#[error(
    "`log_level`: {0}: use error, warn, info, debug, trace, or directives such as info,webgateway_dataplane=debug"
)]
pub(crate) struct LogLevelError(String);

/// Starts logging at `level`, panics included; later calls change nothing.
pub(crate) fn init(level: &str) -> Result<(), LogLevelError> {
    let filter = filter(level)?;
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(STDERR.clone()).with_ansi(ansi);
    // Its own errors would go to stderr directly.
    let lines = lines.log_internal_errors(false);
    let json = std::env::var("WEBGATEWAY_LOG_FORMAT").is_ok_and(|format| format == "json");
    let lines = if json { lines.json().boxed() } else { lines.boxed() };
    // Both fail only when logging was started before, as tests do.
    let _ = SET_FILTER.set(Box::new(move |filter| drop(handle.reload(filter))));
    let _ = tracing_subscriber::registry().with(lines).with(filter).try_init();
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Refuses a level that [`set_level`] would.
pub(crate) fn check_level(level: &str) -> Result<(), LogLevelError> {
    filter(level).map(drop)
}

/// Changes what is logged to `level`.
pub(crate) fn set_level(level: &str) -> Result<(), LogLevelError> {
    let filter = filter(level)?;
    if let Some(set) = SET_FILTER.get() {
        set(filter);
    }
    Ok(())
}

/// Writes a line, and all that was logged before it.
pub(crate) fn last_line(line: &str) {
    STDERR.push(format!("{line}\n").as_bytes());
    flush();
}

/// Waits until what was logged is written, for a bounded time.
pub(crate) fn flush() {
    STDERR.flush(FLUSH_TIMEOUT);
}

/// Returns the counter of log lines that were lost.
pub(crate) fn lines_dropped() -> Counter {
    DROPPED.clone()
}

fn start() -> LogQueue {
    let queue = LogQueue::new(CAPACITY, DROPPED.clone());
    let writer = queue.clone();
    // A process that cannot have even this thread cannot have its others, and ends.
    let _ =
        std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_to(std::io::stderr()));
    queue
}

/// Returns what a panic said.
pub(crate) fn panic_message(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

/// Logs a panic and its place. The hook it replaces writes to stderr itself, and waits there.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic_message(panic.payload());
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    error!(message, thread = thread.name().unwrap_or_default(), "panicked at {place}");
}

fn filter(level: &str) -> Result<EnvFilter, LogLevelError> {
    // A bare word that is no level would be a target, and silence all others.
    let bare = level.split(',').map(str::trim).filter(|directive| !directive.contains(['=', '[']));
    if let Some(unknown) =
        bare.into_iter().find(|word| word.is_empty() || word.parse::<LevelFilter>().is_err())
    {
        return Err(LogLevelError(format!("`{unknown}` is no level")));
    }
    // A line per question or handshake, which any client can cause, is too much.
    let libraries = ["hickory_server", "hickory_proto", "hickory_net", "hickory_resolver", "h2", "rustls"];
    let quiet = libraries.map(|library| format!("{library}=error")).join(",");
    EnvFilter::try_new(format!("{quiet},{level}")).map_err(|error| LogLevelError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_does_not_silence_the_log() {
        for level in ["info", "WARN", "off", "debug,h2=trace", "webgateway_dataplane=debug,info"] {
            assert!(filter(level).is_ok(), "{level}");
        }
        for level in ["loud", "", "info,loud", "debug,foo=bar"] {
            let error = filter(level).unwrap_err().to_string();
            assert!(error.starts_with("`log_level`: "), "{error}");
        }
    }
}
