//! The one table of exit codes.

use gwctl::ErrorKind;

/// The kinds of failure a script can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An answer nobody expected, or a fault on this machine.
    Unexpected,
    /// A wrong flag, value or key file.
    Usage,
    /// No gateway there, or not now.
    Unreachable,
    /// Signature or key not accepted.
    Unauthenticated,
    /// Not allowed.
    Forbidden,
    /// Not there.
    NotFound,
    /// A clash with what is there.
    Conflict,
    /// A value the gateway refuses.
    InvalidParams,
    /// Done, but not on every node.
    NotEverywhere,
}

impl Kind {
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

    /// Returns a stable word for the kind, where the gateway gives none.
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

    /// Returns the hint of the kind, for an error that has none of its own.
    pub(super) const fn hint(self) -> Option<&'static str> {
        match self {
            Self::Unreachable => Some("is the gateway running, and is -u (or WEBGATEWAY_URL) its URL?"),
            Self::Unauthenticated => Some(
                "does the operator have the public key under the name given with -i, is -k its private half, and \
                 is this machine's clock right? -v shows what was signed",
            ),
            Self::Forbidden => Some("the operator can tell what this key may do"),
            Self::NotFound => Some("`gwctl routes list` shows what is there"),
            Self::Unexpected | Self::Usage | Self::Conflict | Self::InvalidParams | Self::NotEverywhere => {
                None
            }
        }
    }
}

impl From<ErrorKind> for Kind {
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
            Kind::Unexpected,
            Kind::Usage,
            Kind::Unreachable,
            Kind::Unauthenticated,
            Kind::Forbidden,
            Kind::NotFound,
            Kind::Conflict,
            Kind::InvalidParams,
            Kind::NotEverywhere,
        ];
        for (kind, code) in kinds.into_iter().zip(1..) {
            assert_eq!(kind.exit_code(), code);
            assert!(AFTER_HELP.contains(&format!("\n  {code}  ")), "{kind:?}");
        }
    }
}
