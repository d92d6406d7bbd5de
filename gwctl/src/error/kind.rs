//! The kinds of command errors and their exit codes.

use gwctl::ErrorKind;

/// The kind of a command error. Each kind has its own exit code, by which scripts distinguish errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The response is unexpected, or something failed on this machine.
    Unexpected,
    /// A flag, a value or a file is invalid.
    Usage,
    /// The gateway cannot be reached, or is temporarily unavailable.
    Unreachable,
    /// The gateway does not accept the signature or the key.
    Unauthenticated,
    /// The key is not allowed to do this.
    Forbidden,
    /// The object does not exist.
    NotFound,
    /// The request conflicts with something that exists, such as a taken host.
    Conflict,
    /// The gateway rejects a value.
    InvalidParams,
    /// The change is stored, but not applied on every node.
    NotEverywhere,
}

impl FailureKind {
    /// Returns the exit code, as `gwctl --help` documents it.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Unexpected => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Unauthenticated => 4,
            Self::Forbidden => 5,
            Self::NotFound => 6,
            Self::Conflict => 7,
            Self::InvalidParams => 8,
            Self::NotEverywhere => 9,
        }
    }

    /// Returns the identifier for errors to which the gateway gives none.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unexpected => "unexpected",
            Self::Usage => "usage",
            Self::Unreachable => "unreachable",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::InvalidParams => "invalid_params",
            Self::NotEverywhere => "not_everywhere",
        }
    }

    /// Returns the hint for errors that have no hint of their own.
    pub(super) const fn hint(self) -> Option<&'static str> {
        match self {
            Self::Unreachable => {
                Some("check that the gateway is running and that -u (or WEBGATEWAY_URL) is its URL")
            }
            Self::Unauthenticated => Some(
                "check that the operator has the public key under the id given with -i, that -k is its private \
                 key, and that this machine's clock is right; -v shows what was signed",
            ),
            Self::Forbidden => Some("ask the operator what this key is allowed to do"),
            Self::NotFound => Some("`gwctl routes list` shows the existing routes"),
            Self::Unexpected | Self::Usage | Self::Conflict | Self::InvalidParams | Self::NotEverywhere => {
                None
            }
        }
    }
}

impl From<ErrorKind> for FailureKind {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Unexpected => Self::Unexpected,
            ErrorKind::Unreachable => Self::Unreachable,
            ErrorKind::Unauthenticated => Self::Unauthenticated,
            ErrorKind::Forbidden => Self::Forbidden,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Conflict => Self::Conflict,
            ErrorKind::InvalidParams => Self::InvalidParams,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::AFTER_HELP;

    #[test]
    fn every_exit_code_is_documented() {
        let kinds = [
            FailureKind::Unexpected,
            FailureKind::Usage,
            FailureKind::Unreachable,
            FailureKind::Unauthenticated,
            FailureKind::Forbidden,
            FailureKind::NotFound,
            FailureKind::Conflict,
            FailureKind::InvalidParams,
            FailureKind::NotEverywhere,
        ];
        for (kind, code) in kinds.into_iter().zip(1..) {
            assert_eq!(kind.exit_code(), code);
            assert!(AFTER_HELP.contains(&format!("\n  {code}  ")), "{kind:?}");
        }
    }
}
