//! Forward authentication: a service on the overlay decides about each request.

use std::time::Duration;

use http::HeaderName;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::model::options::object::object;
use crate::model::{Backend, InvalidBackendError};

/// The maximum number of headers that are copied.
pub const MAX_HEADERS: usize = 32;
/// The time for the service's response, in seconds.
const TIMEOUT: std::ops::RangeInclusive<u64> = 1..=60;
/// The default of `timeout`, in seconds.
const DEFAULT_TIMEOUT: u64 = 10;

/// A service on the overlay that decides about each request to a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(into = "ForwardSpec")]
#[schemars(with = "ForwardSpec")]
pub struct ForwardAuth {
    backend: Backend,
    path: Box<str>,
    headers: Box<[HeaderName]>,
    timeout: Duration,
}

/// An invalid forward authentication.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidForwardAuthError {
    /// The address is invalid.
    #[error(transparent)]
    Backend(#[from] InvalidBackendError),
    /// The path cannot be used in a request.
    #[error(
        "`path` must begin with `/` and have at most 1024 printable ASCII characters, no space and no `#`"
    )]
    Path,
    /// A header's name is invalid.
    #[error("`{0}` is not a header name")]
    Header(String),
    /// A header cannot be copied.
    #[error("`{0}` cannot be copied: it has an underscore, frames the request, or is set by the gateway")]
    Reserved(String),
    /// There are too many headers.
    #[error("{0} headers given, at most {MAX_HEADERS} are allowed")]
    TooMany(usize),
    /// The time is out of range.
    #[error("`timeout` must be from 1 to 60 seconds")]
    Timeout,
}

/// The JSON form of a [`ForwardAuth`].
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ForwardSpec {
    /// The address of the service, such as `[54f:1::2]:9091`. It speaks plain HTTP/1.1.
    backend: String,
    /// The path that is requested there.
    #[serde(default = "root")]
    path: Box<str>,
    /// The names of headers that are copied from a 2xx response to the request, at most 32. The client's headers with
    /// these names are always removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<String>,
    /// The time for the response, in seconds from 1 to 60.
    #[serde(default = "timeout")]
    timeout: u64,
}

fn root() -> Box<str> {
    "/".into()
}

const fn timeout() -> u64 {
    DEFAULT_TIMEOUT
}

impl ForwardAuth {
    /// Makes a forward authentication at `backend`. By default, the path is `/` and the timeout ten seconds.
    pub fn new(
        backend: &str,
        path: Option<&str>,
        headers: &[String],
        timeout: Option<Duration>,
    ) -> Result<Self, InvalidForwardAuthError> {
        let path = path.unwrap_or("/");
        let fits = path.len() <= 1024 && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if !path.starts_with('/') || !fits {
            return Err(InvalidForwardAuthError::Path);
        }
        if headers.len() > MAX_HEADERS {
            return Err(InvalidForwardAuthError::TooMany(headers.len()));
        }
        let timeout = timeout.unwrap_or(Duration::from_secs(DEFAULT_TIMEOUT));
        if timeout.subsec_nanos() > 0 || !TIMEOUT.contains(&timeout.as_secs()) {
            return Err(InvalidForwardAuthError::Timeout);
        }
        let headers: Result<Vec<HeaderName>, _> = headers.iter().map(|name| header(name)).collect();
        Ok(Self { backend: Backend::parse(backend)?, path: path.into(), headers: headers?.into(), timeout })
    }

    /// Returns the address of the service.
    #[must_use]
    pub const fn backend(&self) -> Backend {
        self.backend
    }

    /// Returns the path, with a query if it has one.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the headers that are copied from a 2xx response to the request.
    #[must_use]
    pub fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    /// Returns the time for the whole response.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// Parses the name of a header that may be copied.
fn header(text: &str) -> Result<HeaderName, InvalidForwardAuthError> {
    let name = text.parse::<HeaderName>().map_err(|_| InvalidForwardAuthError::Header(text.to_owned()))?;
    let is_reserved = matches!(
        name.as_str(),
        "host"
            | "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "http2-settings"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "expect"
            | "content-length"
            | "content-encoding"
            | "content-range"
            | "content-type"
            | "forwarded"
            | "via"
            | "cdn-loop"
            | "x-real-ip"
            | "x-forwarded-for"
            | "x-forwarded-host"
            | "x-forwarded-proto"
    ) || name.as_str().contains('_');
    if is_reserved { Err(InvalidForwardAuthError::Reserved(text.to_owned())) } else { Ok(name) }
}

impl From<ForwardAuth> for ForwardSpec {
    fn from(ForwardAuth { backend, path, headers, timeout }: ForwardAuth) -> Self {
        let headers = headers.iter().map(ToString::to_string).collect();
        Self { backend: backend.to_string(), path, headers, timeout: timeout.as_secs() }
    }
}

impl<'de> Deserialize<'de> for ForwardAuth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ForwardSpec { backend, path, headers, timeout } = object(deserializer)?;
        let timeout = Some(Duration::from_secs(timeout));
        Self::new(&backend, Some(&path), &headers, timeout).map_err(D::Error::custom)
    }
}
