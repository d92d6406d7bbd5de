//! Why something was done, as one person tells another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How many characters a reason has at most.
pub const MAX_REASON: usize = 200;

/// A reason: 1 to 200 characters of one line, shown as they are. Space around it is taken off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reason(String);

/// A text that is no reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidReasonError {
    /// Nothing in it.
    #[error("the reason is empty")]
    Empty,
    /// Over [`MAX_REASON`].
    #[error("the reason has over {MAX_REASON} characters")]
    Long,
    /// Something that is not shown, or turns the line around.
    #[error("the reason has characters that are not shown: write one line of plain text")]
    Unprintable,
}

impl Reason {
    /// The text.
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

/// Controls, line ends, and what has no width or changes the direction of what follows.
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
    fn reasons_are_one_line_that_can_be_shown() {
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
