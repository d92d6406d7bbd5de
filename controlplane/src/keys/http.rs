//! The key store `http`: keys are fetched from a server and cached. Cached keys are used while the server is
//! unavailable.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use moka::future::Cache;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::warn;
use webgateway_outgoing::ProxyConnector;
use webgateway_proto::describe_error;
use webgateway_proto::httpsig::{InvalidKeysError, PublicKeys};
use webgateway_proto::model::KeyId;

use super::error::{KeyServerError, MAX_KEY, REQUEST_TIMEOUT, UnusableKeyError};
use crate::clock::Clock;
use crate::config::KeyUri;

/// The maximum number of cached key ids, with or without keys.
const CAPACITY: u64 = 100_000;
/// The maximum number of concurrent requests. It bounds what unauthenticated callers can cause by naming key ids.
const MAX_CONCURRENT_REQUESTS: usize = 32;
/// The maximum time for which the absence of a key is cached. It is shorter if the TTL of keys is.
const ABSENT_TTL: Duration = Duration::from_secs(10);
/// The delay before the next request after a failed one.
const RETRY_DELAY: Duration = Duration::from_secs(2);
/// The maximum age of cached keys that are used while the server is unavailable.
const MAX_STALE_AGE: Duration = Duration::from_secs(24 * 3600);
/// The minimum age of a cached response that [`KeyServer::refresh`] fetches again.
const MIN_REFRESH_AGE: Duration = Duration::from_secs(5);

/// A client of a server of public keys. Clones share the cache.
#[derive(Debug, Clone)]
pub(crate) struct KeyServer {
    uri: KeyUri,
    ttl: Duration,
    client: Client<HttpsConnector<ProxyConnector<HttpConnector>>, Empty<Bytes>>,
    /// The responses by key id. It also merges concurrent requests for one key id.
    cache: Cache<KeyId, CachedResponse>,
    permits: Arc<Semaphore>,
    clock: Clock,
}

/// The cached response for a key id.
#[derive(Debug, Clone)]
struct CachedResponse {
    response: KeyResponse,
    /// The time at which the server last confirmed the response.
    confirmed_at: OffsetDateTime,
    /// The time from which the next use fetches it again.
    refresh_at: OffsetDateTime,
}

#[derive(Debug, Clone)]
enum KeyResponse {
    Keys(PublicKeys),
    Absent,
    Invalid(InvalidKeysError),
    TooLarge,
    Failed(Arc<KeyServerError>),
}

impl KeyServer {
    /// Creates a client of the server at `uri`. Keys are cached for `ttl`.
    pub(crate) fn new(uri: KeyUri, ttl: Duration, clock: Clock) -> Result<Self, rustls::Error> {
        let connector = HttpsConnectorBuilder::new().try_with_platform_verifier()?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        let tcp = ProxyConnector::from_env(tcp);
        let connector = connector.https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let cache = Cache::new(CAPACITY);
        Ok(Self {
            uri,
            ttl,
            client,
            cache,
            permits: Arc::new(Semaphore::new(MAX_CONCURRENT_REQUESTS)),
            clock,
        })
    }

    /// Returns the public keys of a key id; `None` if there are none.
    pub(super) async fn find(&self, id: &KeyId) -> Result<Option<PublicKeys>, UnusableKeyError> {
        let now = self.clock.now();
        self.get(id, |cached| cached.refresh_at <= now).await.read()
    }

    /// Fetches the keys of a key id again, unless the cached response is younger than [`MIN_REFRESH_AGE`] or absent.
    /// Returns `None` if nothing was fetched or there are no keys.
    pub(super) async fn refresh(&self, id: &KeyId) -> Result<Option<PublicKeys>, UnusableKeyError> {
        let now = self.clock.now();
        let is_old = |cached: &CachedResponse| {
            cached.confirmed_at + MIN_REFRESH_AGE <= now && !matches!(cached.response, KeyResponse::Failed(_))
        };
        if self.cache.get(id).await.is_some_and(|cached| is_old(&cached)) {
            return self.get(id, is_old).await.read();
        }
        Ok(None)
    }

    async fn get(
        &self,
        id: &KeyId,
        is_outdated: impl FnMut(&CachedResponse) -> bool + Send,
    ) -> CachedResponse {
        let cached = self.cache.get(id).await;
        let entry = self.cache.entry(id.clone());
        entry.or_insert_with_if(self.request(id, cached), is_outdated).await.into_value()
    }

    async fn request(&self, id: &KeyId, cached: Option<CachedResponse>) -> CachedResponse {
        let response = timeout(REQUEST_TIMEOUT, self.fetch(id)).await.unwrap_or(Err(KeyServerError::Timeout));
        let now = self.clock.now();
        match response {
            Ok(response) => {
                let ttl = if matches!(response, KeyResponse::Keys(_)) {
                    self.ttl
                } else {
                    self.ttl.min(ABSENT_TTL)
                };
                CachedResponse { response, confirmed_at: now, refresh_at: now + ttl }
            }
            Err(error) => {
                warn!(key = %id, %error, "key server request failed");
                let is_usable = |cached: &CachedResponse| {
                    matches!(cached.response, KeyResponse::Keys(_))
                        && now - cached.confirmed_at < MAX_STALE_AGE
                };
                match cached.filter(is_usable) {
                    Some(cached) => CachedResponse { refresh_at: now + RETRY_DELAY, ..cached },
                    None => CachedResponse {
                        response: KeyResponse::Failed(Arc::new(error)),
                        confirmed_at: now,
                        refresh_at: now + RETRY_DELAY,
                    },
                }
            }
        }
    }

    async fn fetch(&self, id: &KeyId) -> Result<KeyResponse, KeyServerError> {
        let _permit = self.permits.acquire().await.map_err(|_| KeyServerError::Timeout)?;
        let unreachable = |text: String| KeyServerError::Unreachable(text);
        let request = Request::get(self.uri.of(id)).header(ACCEPT, HeaderValue::from_static("*/*"));
        let request = request.body(Empty::new()).map_err(|e| unreachable(e.to_string()))?;
        let response = self.client.request(request).await.map_err(|e| unreachable(describe_error(&e)))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(KeyResponse::Absent),
            status => return Err(KeyServerError::Status(status)),
        }
        let limit = usize::try_from(MAX_KEY).unwrap_or(usize::MAX);
        let body = match Limited::new(response.into_body(), limit).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Ok(KeyResponse::TooLarge),
            Err(error) => return Err(unreachable(describe_error(&*error))),
        };
        let keys = PublicKeys::read(&body);
        for skipped in keys.iter().flat_map(PublicKeys::skipped) {
            warn!(key = %id, %skipped, "public key skipped");
        }
        Ok(keys.map_or_else(KeyResponse::Invalid, KeyResponse::Keys))
    }
}

impl CachedResponse {
    fn read(self) -> Result<Option<PublicKeys>, UnusableKeyError> {
        match self.response {
            KeyResponse::Keys(keys) => Ok(Some(keys)),
            KeyResponse::Absent => Ok(None),
            KeyResponse::Invalid(error) => Err(error.into()),
            KeyResponse::TooLarge => Err(UnusableKeyError::TooLarge),
            KeyResponse::Failed(error) => Err(UnusableKeyError::ServerUnavailable(error)),
        }
    }
}

#[cfg(test)]
mod tests;
