//! An HTTPS client for requests to a CA: bounded in time and size, through a proxy if the environment names one, with
//! access to `Retry-After`.
//!
//! It runs on hyper-util's client because instant-acme's own client has no timeout and no size limit, and hides the
//! `Retry-After` of error responses.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::time::timeout;
use webgateway_outgoing::ProxyConnector;
use webgateway_proto::describe_error;

use crate::clock::Clock;

/// The time limit for one request, including the connection and the response body.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum size of a response body, in bytes. A certificate chain has a few thousand.
const MAX_RESPONSE_SIZE: usize = 1 << 20;
/// The number of characters of an unexpected response that an error message repeats.
const MAX_EXCERPT_CHARS: usize = 200;
/// The default `Retry-After` of renewal information, in seconds (RFC 9773 §4.3.3).
const DEFAULT_RETRY_AFTER: HeaderValue = HeaderValue::from_static("21600");

/// An HTTPS client. Clones share the connections and the last `Retry-After`.
#[derive(Clone)]
pub(crate) struct HttpsClient {
    client: Client<HttpsConnector<ProxyConnector<HttpConnector>>, Full<Bytes>>,
    retry_after: Arc<Mutex<Option<OffsetDateTime>>>,
    clock: Clock,
}

/// An error while creating an [`HttpsClient`].
#[derive(Debug, Error)]
pub enum HttpsError {
    /// The file of root certificates cannot be used.
    #[error("cannot read the CA's root from {path}: {reason}")]
    Root {
        /// The file.
        path: String,
        /// The reason.
        reason: String,
    },
    /// The system's root certificates cannot be used.
    #[error("the system's root certificates cannot be used: {0}")]
    SystemRoots(#[from] rustls::Error),
}

/// An error while exchanging a request and its response.
#[derive(Debug, Error)]
pub(crate) enum ExchangeError {
    /// The connection or the exchange failed.
    #[error("the CA cannot be reached: {0}")]
    Unreachable(String),
    /// The time limit expired.
    #[error("the CA did not answer within {} s", EXCHANGE_TIMEOUT.as_secs())]
    Timeout,
    /// The request or response body is too large or incomplete.
    #[error("the CA's response cannot be read: {0}")]
    Unreadable(String),
    /// The response is an error without an ACME problem document.
    #[error("the CA answered {status}: {excerpt}")]
    Status {
        /// The status code.
        status: StatusCode,
        /// The beginning of the response body.
        excerpt: String,
    },
}

impl HttpsClient {
    /// Creates a client that trusts the root certificates in the file `root`, or the system's. Blocks.
    pub(crate) fn new(root: Option<&Path>, clock: Clock) -> Result<Self, HttpsError> {
        let builder = HttpsConnectorBuilder::new();
        let builder = match root {
            Some(path) => {
                let roots = read_roots(path)?;
                builder.with_tls_config(
                    ClientConfig::builder().with_root_certificates(roots).with_no_client_auth(),
                )
            }
            None => builder.try_with_platform_verifier()?,
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        let tcp = ProxyConnector::from_env(tcp);
        let connector = builder.https_only().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, retry_after: Arc::default(), clock })
    }

    /// Returns a client that shares the connections but keeps its own `Retry-After`.
    #[must_use]
    pub(crate) fn with_own_retry_after(&self) -> Self {
        Self { retry_after: Arc::default(), ..self.clone() }
    }

    /// Returns the time given by `Retry-After` in the last response.
    #[must_use]
    pub(crate) fn retry_after(&self) -> Option<OffsetDateTime> {
        *self.retry_after.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends one request and reads its response. A response with a status of 400 or more is an error unless it carries
    /// a problem document (RFC 7807).
    pub(crate) async fn exchange<B>(
        &self,
        request: Request<B>,
    ) -> Result<Response<Full<Bytes>>, ExchangeError>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        let (parts, body) = request.into_parts();
        let is_get = parts.method == Method::GET;
        let body = body.collect().await.map_err(|e| ExchangeError::Unreadable(e.to_string()))?.to_bytes();
        let request = Request::from_parts(parts, Full::new(body));
        let (mut parts, body) =
            timeout(EXCHANGE_TIMEOUT, self.receive(request)).await.map_err(|_| ExchangeError::Timeout)??;
        let retry_after = parts.headers.get(RETRY_AFTER).and_then(|value| self.parse_retry_after(value));
        *self.retry_after.lock().unwrap_or_else(PoisonError::into_inner) = retry_after;
        if is_get && retry_after.is_none() {
            parts.headers.insert(RETRY_AFTER, DEFAULT_RETRY_AFTER);
        }
        let failed = parts.status.is_client_error() || parts.status.is_server_error();
        if failed && (is_get || !is_problem(&body)) {
            let excerpt = String::from_utf8_lossy(&body)
                .chars()
                .filter(|c| !c.is_control())
                .take(MAX_EXCERPT_CHARS)
                .collect();
            return Err(ExchangeError::Status { status: parts.status, excerpt });
        }
        Ok(Response::from_parts(parts, Full::new(body)))
    }

    async fn receive(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(http::response::Parts, Bytes), ExchangeError> {
        let response =
            self.client.request(request).await.map_err(|e| ExchangeError::Unreachable(describe_error(&e)))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_RESPONSE_SIZE).collect().await;
        Ok((parts, body.map_err(|e| ExchangeError::Unreadable(e.to_string()))?.to_bytes()))
    }

    /// Parses `Retry-After`: seconds or an HTTP date (RFC 9110 §10.2.3).
    fn parse_retry_after(&self, value: &HeaderValue) -> Option<OffsetDateTime> {
        let text = value.to_str().ok()?.trim();
        match text.parse::<u32>() {
            Ok(seconds) => Some(self.clock.now() + Duration::from_secs(seconds.into())),
            Err(_) => OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok(),
        }
    }
}

fn read_roots(path: &Path) -> Result<RootCertStore, HttpsError> {
    let unreadable = |reason: String| HttpsError::Root { path: path.display().to_string(), reason };
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(path).map_err(|e| unreadable(e.to_string()))?;
    for root in found {
        let root = root.map_err(|e| unreadable(e.to_string()))?;
        roots.add(root).map_err(|e| unreadable(e.to_string()))?;
    }
    if roots.is_empty() { Err(unreadable("no certificate is in it".to_owned())) } else { Ok(roots) }
}

fn is_problem(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body)
        .is_ok_and(|problem| problem.contains_key("type") || problem.contains_key("detail"))
}

impl std::fmt::Debug for HttpsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HttpsClient")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let clock = Clock::from_fn(|| OffsetDateTime::UNIX_EPOCH);
        let https = HttpsClient::new(None, clock).unwrap();
        let read = |text| {
            https.parse_retry_after(&HeaderValue::from_static(text)).map(OffsetDateTime::unix_timestamp)
        };
        assert_eq!(read("120"), Some(120));
        assert_eq!(read("Fri, 31 Dec 1999 23:59:59 GMT"), Some(946_684_799));
        assert_eq!(read("soon"), None);
    }

    #[test]
    fn an_unusable_root_file_is_reported_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.pem");
        for content in
            [None, Some("nothing"), Some("-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n")]
        {
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let error = HttpsClient::new(Some(&path), Clock::system()).unwrap_err().to_string();
            assert!(error.contains("root.pem"), "{error}");
        }
    }
}
