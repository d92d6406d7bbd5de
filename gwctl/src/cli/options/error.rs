//! The error of a route option's flag.

use thiserror::Error;
use webgateway_proto::model::InvalidHealthCheckError;

/// An invalid value of a route option's flag.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub(crate) struct OptionError {
    /// The flag at fault, as users write it.
    pub(crate) flag: &'static str,
    /// The next step for the user.
    pub(crate) hint: Option<&'static str>,
    message: String,
}

impl OptionError {
    /// Creates the error of a flag whose value is invalid.
    pub(super) fn new(flag: &'static str, error: &dyn std::error::Error) -> Self {
        Self::text(flag, error.to_string())
    }

    /// Creates the error of a flag with a message of its own.
    pub(super) const fn text(flag: &'static str, message: String) -> Self {
        Self { flag, hint: None, message }
    }

    /// Returns the error with the next step for the user, if there is one.
    pub(super) fn with_hint(self, hint: Option<&'static str>) -> Self {
        Self { hint, ..self }
    }

    /// Creates the error of a flag whose value is no header field.
    pub(super) fn no_field(flag: &'static str, text: &str) -> Self {
        let message =
            format!("`{text}` is not a header field: write a name, a colon and a value, such as 'X-A: b'");
        Self { flag, hint: None, message }
    }
}

impl From<InvalidHealthCheckError> for OptionError {
    fn from(invalid: InvalidHealthCheckError) -> Self {
        let (flag, hint) = match invalid {
            InvalidHealthCheckError::Path => (
                "--health",
                Some("write --health tcp, or --health with a path of the backend, such as /healthz"),
            ),
            InvalidHealthCheckError::Interval => ("--health-interval", None),
            InvalidHealthCheckError::Count => ("--health-rise, --health-fall", None),
        };
        Self { flag, hint, message: invalid.to_string() }
    }
}
