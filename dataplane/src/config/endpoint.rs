//! Where a node's resources come from.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

/// Where the resources come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Endpoint {
    /// A controlplane on this machine.
    Unix(PathBuf),
    /// A file, read at the start and on SIGHUP.
    File(PathBuf),
}

/// An endpoint that is none.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEndpoint {
    /// Remote controlplanes.
    #[error("`{0}`: a remote controlplane needs mutual TLS, which this build does not have; use unix:PATH")]
    Remote(String),
    /// Anything else.
    #[error("`{0}` is no feed endpoint: use unix:PATH or file:PATH")]
    Unknown(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("http" | "https", _)) => Err(InvalidEndpoint::Remote(text.to_owned())),
            Some(_) | None => Err(InvalidEndpoint::Unknown(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Endpoint {
    type Error = InvalidEndpoint;

    fn try_from(text: String) -> Result<Self, InvalidEndpoint> {
        text.parse()
    }
}
