//! Logging: one line per event on stderr, for people or, with `WEBGATEWAY_LOG_FORMAT=json`, for programs.

use std::io::IsTerminal;

use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The `log_level` is none.
#[derive(Debug, Error)]
#[error(
    "`log_level`: {0}: use error, warn, info, debug, trace, or directives such as info,webgateway_dataplane=debug"
)]
pub struct LogLevelError(String);

/// Starts logging at `level`; later calls change nothing.
pub fn init(level: &str) -> Result<(), LogLevelError> {
    let filter = filter(level)?;
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    let json = std::env::var("WEBGATEWAY_LOG_FORMAT").is_ok_and(|format| format == "json");
    // Fails only when logging was started before, as tests do.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
    Ok(())
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
