//! Logging on stderr, one line per event, as text or with `WEBGATEWAY_LOG_FORMAT=json` as JSON. Lines for systemd's
//! journal begin with their priority.
//!
//! Only the queue's thread writes to stderr, so that a pipe whose reader stalls or is closed affects nothing but the
//! log.

mod journal;
mod queue;

use std::any::Any;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use thiserror::Error;
use tracing::{Level, error};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt, reload};

use self::journal::LogOutput;
use self::queue::LogQueue;

/// The maximum size of queued log lines, in bytes.
const CAPACITY: usize = 1 << 20;
/// The maximum time for which the end of the process waits for the last lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The counter of dropped lines.
static DROPPED: LazyLock<Counter> = LazyLock::new(Counter::default);
/// The queue and its thread, which writes to stderr.
static STDERR: LazyLock<LogQueue> = LazyLock::new(start);
/// The function that replaces the filter; set when logging starts.
static SET_FILTER: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();
/// Is true if systemd's journal reads stderr.
static IS_JOURNAL: LazyLock<bool> =
    LazyLock::new(|| journal::reads(&std::io::stderr(), std::env::var("JOURNAL_STREAM").ok().as_deref()));

/// The value of `log_level` is invalid.
#[derive(Debug, Error)]
#[error(
    "`log_level`: {0}: use error, warn, info, debug, trace, or directives such as info,webgateway_dataplane=debug"
)]
pub(crate) struct LogLevelError(String);

/// Starts logging at `level`, including panics. Later calls have no effect.
pub(crate) fn init(level: &str) -> Result<(), LogLevelError> {
    let filter = filter(level)?;
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (filter, handle) = reload::Layer::new(filter);
    let output = LogOutput { queue: STDERR.clone(), has_priorities: *IS_JOURNAL };
    let lines = fmt::layer().with_writer(output).with_ansi(ansi);
    // The layer would write its own errors to stderr directly.
    let lines = lines.log_internal_errors(false);
    let json = std::env::var("WEBGATEWAY_LOG_FORMAT").is_ok_and(|format| format == "json");
    let lines = if json { lines.json().boxed() } else { lines.boxed() };
    // Both fail only if logging was started before, as in tests.
    let _ = SET_FILTER.set(Box::new(move |filter| drop(handle.reload(filter))));
    let _ = tracing_subscriber::registry().with(lines).with(filter).try_init();
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Checks that [`set_level`] would accept a level.
pub(crate) fn check_level(level: &str) -> Result<(), LogLevelError> {
    filter(level).map(drop)
}

/// Changes the log level.
pub(crate) fn set_level(level: &str) -> Result<(), LogLevelError> {
    let filter = filter(level)?;
    if let Some(set) = SET_FILTER.get() {
        set(filter);
    }
    Ok(())
}

/// Writes a line about an error after all queued ones, and waits until it is written.
pub(crate) fn last_line(line: &str) {
    let prefix = if *IS_JOURNAL { journal::priority(Level::ERROR) } else { "" };
    STDERR.push(format!("{prefix}{line}\n").as_bytes());
    flush();
}

/// Waits until all queued lines are written, for at most [`FLUSH_TIMEOUT`].
pub(crate) fn flush() {
    STDERR.flush(FLUSH_TIMEOUT);
}

/// Returns the counter of dropped log lines.
pub(crate) fn lines_dropped() -> Counter {
    DROPPED.clone()
}

fn start() -> LogQueue {
    let queue = LogQueue::new(CAPACITY, DROPPED.clone());
    let writer = queue.clone();
    // A process that cannot start this thread cannot start its other ones either, and ends.
    let _ =
        std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_to(std::io::stderr()));
    queue
}

/// Returns the message of a panic.
pub(crate) fn panic_message(payload: &dyn Any) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

/// Logs a panic and its location. The default hook would write to stderr directly and could block.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic_message(panic.payload());
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    error!(message, thread = thread.name().unwrap_or_default(), "panicked at {place}");
}

fn filter(level: &str) -> Result<EnvFilter, LogLevelError> {
    // `EnvFilter` reads a misspelled level as a target, and would silence all others.
    let bare = level.split(',').map(str::trim).filter(|directive| !directive.contains(['=', '[']));
    if let Some(unknown) =
        bare.into_iter().find(|word| word.is_empty() || word.parse::<LevelFilter>().is_err())
    {
        return Err(LogLevelError(format!("`{unknown}` is not a level")));
    }
    // These libraries would log a line for each DNS query or handshake, which any client can cause.
    let libraries = ["hickory_server", "hickory_proto", "hickory_net", "hickory_resolver", "h2", "rustls"];
    let quiet = libraries.map(|library| format!("{library}=error")).join(",");
    EnvFilter::try_new(format!("{quiet},{level}")).map_err(|error| LogLevelError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_level_is_rejected() {
        for level in ["info", "WARN", "off", "debug,h2=trace", "webgateway_dataplane=debug,info"] {
            assert!(filter(level).is_ok(), "{level}");
        }
        for level in ["loud", "", "info,loud", "debug,foo=bar"] {
            let error = filter(level).unwrap_err().to_string();
            assert!(error.starts_with("`log_level`: "), "{error}");
        }
    }
}
