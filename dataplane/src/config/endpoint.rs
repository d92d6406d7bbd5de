//! The endpoints from which a node gets its resources.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use webgateway_proto::model::RemoteAddress;

/// An endpoint that provides the resources of a node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Endpoint {
    /// A controlplane on this machine.
    Unix(PathBuf),
    /// A remote controlplane, over mutual TLS.
    Remote(RemoteAddress),
    /// A file, which is read at the start and on SIGHUP.
    File(PathBuf),
}

/// A text is not a valid endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The endpoint has the scheme `http`.
    #[error("`{0}`: the feed carries private keys and needs TLS: use https://HOST:PORT")]
    Plain(String),
    /// The scheme is unknown, or the rest is malformed.
    #[error("`{0}` is not a feed endpoint: use unix:PATH, https://HOST:PORT or file:PATH")]
    Unknown(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Remote(address) => write!(f, "https://{address}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let unknown = || EndpointError::Unknown(text.to_owned());
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("https", rest)) => {
                let address = rest.strip_prefix("//").map(|rest| rest.trim_end_matches('/'));
                address.and_then(|a| a.parse().ok()).map(Self::Remote).ok_or_else(unknown)
            }
            Some(("http", _)) => Err(EndpointError::Plain(text.to_owned())),
            Some(_) | None => Err(unknown()),
        }
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Self, EndpointError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_socket_an_address_or_a_file() {
        for text in
            ["unix:/run/x.sock", "https://control.example:7443", "https://[2001:db8::1]:1", "file:x.json"]
        {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        for bad in ["", "unix:", "https://x", "https:x:1", "https://x:1/path", "http://x:1", "x:1"] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }
}
