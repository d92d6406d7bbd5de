//! The faults of a configuration.

use thiserror::Error;

/// Keys that are well-formed and yet cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// There is no address to listen on.
    #[error("`listen` is empty: name one address at least")]
    NoAddress,
    /// Both listeners have the same port.
    #[error("`https_port` and `http_port` are both {0}")]
    SamePort(u16),
    /// A file and another endpoint.
    #[error("`feed.endpoint`: file:PATH stands alone")]
    FileAmongOthers,
    /// A time is none, or beyond the clock.
    #[error("`limits.{0}` must be from 10ms to 30days")]
    Timeout(&'static str),
    /// A time is beyond the clock.
    #[error("`limits.{0}` must be 30days at most")]
    Longest(&'static str),
    /// A number leaves room for nothing, or for more than there is.
    #[error("`{key}` must be from {least} to {most}")]
    Number {
        /// The key.
        key: &'static str,
        /// The least it may be.
        least: usize,
        /// The most it may be.
        most: usize,
    },
}

pub(super) fn within(key: &'static str, number: usize, least: usize, most: usize) -> Result<(), ConfigError> {
    if (least..=most).contains(&number) { Ok(()) } else { Err(ConfigError::Number { key, least, most }) }
}
