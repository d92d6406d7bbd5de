//! The reason of an administrative action, in plain text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The maximum length of a reason, in characters.
pub const MAX_REASON: usize = 200;

/// A reason: one line of 1 to [`MAX_REASON`] printable characters. Surrounding white space is removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reason(String);

/// A text that is not a valid [`Reason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidReasonError {
    /// The text is empty.
    #[error("the reason is empty")]
    Empty,
    /// The text has more than [`MAX_REASON`] characters.
    #[error("the reason has over {MAX_REASON} characters")]
    Long,
    /// The text has control, invisible or bidirectional characters.
    #[error("the reason has control or invisible characters: write one line of plain text")]
    Unprintable,
}

impl Reason {
    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reason {
    type Err = InvalidReasonError;

    fn from_str(text: &str) -> Result<Self, InvalidReasonError> {
        let text = text.trim();
        match text.chars().count() {
            0 => Err(InvalidReasonError::Empty),
            n if n > MAX_REASON => Err(InvalidReasonError::Long),
            _ if text.chars().any(is_hidden) => Err(InvalidReasonError::Unprintable),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

/// Returns whether a character is a control, has no width, ends a line or changes the direction of text.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Reason {
    type Error = InvalidReasonError;

    fn try_from(text: String) -> Result<Self, InvalidReasonError> {
        text.parse()
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_printable_line() {
        let long = "é".repeat(MAX_REASON);
        for (text, reason) in [
            ("spam", "spam"),
            ("  Rechnung offen – bitte melden ", "Rechnung offen – bitte melden"),
            (&*long, &*long),
        ] {
            assert_eq!(text.parse::<Reason>().unwrap().as_str(), reason);
        }
        let too_long = "x".repeat(MAX_REASON + 1);
        for (text, error) in [
            ("", InvalidReasonError::Empty),
            (" \t", InvalidReasonError::Empty),
            (&*too_long, InvalidReasonError::Long),
            ("a\nb", InvalidReasonError::Unprintable),
            ("a\u{1b}[2Jb", InvalidReasonError::Unprintable),
            ("a\u{202e}b", InvalidReasonError::Unprintable),
        ] {
            assert_eq!(text.parse::<Reason>(), Err(error), "{text:?}");
        }
    }
}
