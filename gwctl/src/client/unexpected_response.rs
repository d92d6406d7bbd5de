//! The error for a response that is not JSON-RPC.

use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderName, Response, StatusCode};

/// The maximum length of the text quoted from the response, in characters.
const MAX_DETAIL: usize = 200;

/// A response that is not JSON-RPC, such as the error page of a proxy or of another server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct UnexpectedResponseError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The target of a redirect, from the `Location` header.
    pub location: Option<String>,
    /// The first line of a plain text body that does not repeat the status, or else the Proxy-Status header.
    pub detail: Option<String>,
    /// True if the response has a Proxy-Status header (RFC 9209): a proxy answered because it could not reach the API.
    pub has_proxy_status: bool,
}

impl UnexpectedResponseError {
    /// Creates the error from a response.
    pub(super) fn from_response(response: &Response<Bytes>) -> Self {
        let header = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
        let is_plain = header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/plain"));
        let proxy_status = header(HeaderName::from_static("proxy-status"));
        let text = std::str::from_utf8(response.body()).ok().filter(|_| is_plain);
        let is_detail =
            |line: &&str| !line.starts_with(response.status().as_str()) && !line.trim().is_empty();
        let detail = text.and_then(|text| text.lines().find(is_detail)).or(proxy_status);
        Self {
            status: response.status(),
            location: header(LOCATION).filter(|_| response.status().is_redirection()).map(str::to_owned),
            detail: detail.map(str::trim).filter(|text| !text.is_empty()).map(truncate),
            has_proxy_status: proxy_status.is_some(),
        }
    }
}

impl fmt::Display for UnexpectedResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the response is HTTP {}, not JSON-RPC", self.status)?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

fn truncate(text: &str) -> String {
    text.chars().take(MAX_DETAIL).collect()
}
