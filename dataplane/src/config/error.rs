//! The errors of a configuration.

use thiserror::Error;

/// A configuration is well-formed, but its values are invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The list `listen` is empty.
    #[error("`listen` is empty: name at least one address")]
    NoAddress,
    /// Both listeners have the same port.
    #[error("`https_port` and `http_port` are both {0}: choose different ports")]
    SamePort(u16),
    /// A file and another endpoint are configured.
    #[error("`feed.endpoint`: file:PATH must be the only endpoint")]
    FileAmongOthers,
    /// A timeout is too short or too long.
    #[error("`limits.{0}` must be from 10ms to 30days")]
    Timeout(&'static str),
    /// A duration is too long.
    #[error("`limits.{0}` must be at most 30days")]
    Longest(&'static str),
    /// A number is out of range.
    #[error("`{key}` must be from {least} to {most}")]
    Number {
        /// The key of the number.
        key: &'static str,
        /// The minimum value.
        least: usize,
        /// The maximum value.
        most: usize,
    },
}

pub(super) fn within(key: &'static str, number: usize, least: usize, most: usize) -> Result<(), ConfigError> {
    if (least..=most).contains(&number) { Ok(()) } else { Err(ConfigError::Number { key, least, most }) }
}
