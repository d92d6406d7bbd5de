//! Logging: one line per event on stderr, for people or, with `WEBGATEWAY_LOG_FORMAT=json`, for programs.

use std::io::IsTerminal;

use thiserror::Error;
use tracing_subscriber::EnvFilter;

/// A `log_level` that is none.
#[derive(Debug, Error)]
#[error(
    "`log_level`: {0}: use error, warn, info, debug, trace, or directives such as info,webgateway_dataplane=debug"
)]
pub struct InvalidLevel(#[from] tracing_subscriber::filter::ParseError);

/// Starts logging at `level`; later calls change nothing.
pub fn init(level: &str) -> Result<(), InvalidLevel> {
    // One INFO line per question, or per handshake, is too much of libraries.
    let quiet = ["hickory_server=warn", "hickory_proto=warn", "h2=warn", "rustls=warn"].join(",");
    let filter = EnvFilter::try_new(format!("{quiet},{level}"))?;
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    let json = std::env::var("WEBGATEWAY_LOG_FORMAT").is_ok_and(|format| format == "json");
    // Fails only when logging was started before, as tests do.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
    Ok(())
}
