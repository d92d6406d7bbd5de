//! An answer that is not the API's.

use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderName, Response, StatusCode};

/// The longest part of a foreign answer that is repeated, in characters.
const MAX_DETAIL: usize = 200;

/// An answer that is not JSON-RPC: a proxy's, another server's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct NotRpcError {
    /// Its status.
    pub status: StatusCode,
    /// The target of a redirect.
    pub location: Option<String>,
    /// The first line of a plain text that does not repeat the status, or the Proxy-Status.
    pub detail: Option<String>,
    /// True if a gateway says that it reached nobody (Proxy-Status, RFC 9209).
    pub is_gateways: bool,
}

impl NotRpcError {
    /// Reads status, target and detail of an answer.
    pub(super) fn of(response: &Response<Bytes>) -> Self {
        let header = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
        let is_plain = header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/plain"));
        let proxy_status = header(HeaderName::from_static("proxy-status"));
        let text = std::str::from_utf8(response.body()).ok().filter(|_| is_plain);
        let is_news = |line: &&str| !line.starts_with(response.status().as_str()) && !line.trim().is_empty();
        let detail = text.and_then(|text| text.lines().find(is_news)).or(proxy_status);
        Self {
            status: response.status(),
            location: header(LOCATION).filter(|_| response.status().is_redirection()).map(str::to_owned),
            detail: detail.map(str::trim).filter(|text| !text.is_empty()).map(cut),
            is_gateways: proxy_status.is_some(),
        }
    }
}

impl fmt::Display for NotRpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the answer is HTTP {}, not JSON-RPC", self.status)?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_DETAIL).collect()
}
