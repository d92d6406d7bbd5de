//! The key store `http`: each key is asked for once in a while, and an earlier answer serves while the server is away.

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
use webgateway_proto::httpsig::{InvalidKey, PublicKeys};
use webgateway_proto::model::KeyId;

use super::error::{KeyServerError, MAX_KEY, REQUEST_TIMEOUT, UnusableKeyError};
use crate::clock::Clock;
use crate::config::KeyUri;

/// The most names that are remembered, with a key or without.
const CAPACITY: u64 = 100_000;
/// The most requests under way at once: anybody may name a key.
const CONCURRENT: usize = 32;
/// A name without a key is asked about again after this, or sooner if keys are.
const ABSENT: Duration = Duration::from_secs(10);
/// A server that failed is asked again after this.
const PAUSE: Duration = Duration::from_secs(2);
/// For how long an earlier answer serves while the server is away.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// An answer younger than this is not doubted.
const YOUNG: Duration = Duration::from_secs(5);

/// A server of public keys. Clones share what they know.
#[derive(Debug, Clone)]
pub(crate) struct KeyServer {
    uri: KeyUri,
    ttl: Duration,
    client: Client<HttpsConnector<ProxyConnector<HttpConnector>>, Empty<Bytes>>,
    /// The answers so far; it also keeps two callers from asking about one name at a time.
    known: Cache<KeyId, Known>,
    turns: Arc<Semaphore>,
    clock: Clock,
}

/// The last answer about a name.
#[derive(Debug, Clone)]
struct Known {
    answer: Answer,
    /// When the server last said so.
    said: OffsetDateTime,
    /// Until when it is not asked again.
    until: OffsetDateTime,
}

#[derive(Debug, Clone)]
enum Answer {
    Keys(PublicKeys),
    Absent,
    Invalid(InvalidKey),
    TooLarge,
    Failed(Arc<KeyServerError>),
}

impl KeyServer {
    /// Asks at `uri`; an answer is good for `ttl`.
    pub(crate) fn new(uri: KeyUri, ttl: Duration, clock: Clock) -> Result<Self, rustls::Error> {
        let connector = HttpsConnectorBuilder::new().try_with_platform_verifier()?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        let tcp = ProxyConnector::from_env(tcp);
        let connector = connector.https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let known = Cache::new(CAPACITY);
        Ok(Self { uri, ttl, client, known, turns: Arc::new(Semaphore::new(CONCURRENT)), clock })
    }

    /// The keys of this name; `None` if there are none.
    pub(super) async fn find(&self, id: &KeyId) -> Result<Option<PublicKeys>, UnusableKeyError> {
        let now = self.clock.now();
        self.ask(id, |known| known.until <= now).await.read()
    }

    /// The keys of this name, if they are other ones than were known: asked for anew unless they came just now.
    pub(super) async fn find_again(&self, id: &KeyId) -> Result<Option<PublicKeys>, UnusableKeyError> {
        let now = self.clock.now();
        let is_old = |known: &Known| known.said + YOUNG <= now && !matches!(known.answer, Answer::Failed(_));
        if self.known.get(id).await.is_some_and(|known| is_old(&known)) {
            return self.ask(id, is_old).await.read();
        }
        Ok(None)
    }

    async fn ask(&self, id: &KeyId, again: impl FnMut(&Known) -> bool + Send) -> Known {
        let earlier = self.known.get(id).await;
        let entry = self.known.entry(id.clone());
        entry.or_insert_with_if(self.learn(id, earlier), again).await.into_value()
    }

    async fn learn(&self, id: &KeyId, earlier: Option<Known>) -> Known {
        let answer = timeout(REQUEST_TIMEOUT, self.fetch(id)).await.unwrap_or(Err(KeyServerError::Late));
        let now = self.clock.now();
        match answer {
            Ok(answer) => {
                let ttl = if matches!(answer, Answer::Keys(_)) { self.ttl } else { self.ttl.min(ABSENT) };
                Known { answer, said: now, until: now + ttl }
            }
            Err(error) => {
                warn!(key = %id, %error, "the key server gives no answer");
                let serves =
                    |known: &Known| matches!(known.answer, Answer::Keys(_)) && now - known.said < STALE;
                match earlier.filter(serves) {
                    Some(earlier) => Known { until: now + PAUSE, ..earlier },
                    None => Known { answer: Answer::Failed(Arc::new(error)), said: now, until: now + PAUSE },
                }
            }
        }
    }

    async fn fetch(&self, id: &KeyId) -> Result<Answer, KeyServerError> {
        let _turn = self.turns.acquire().await.map_err(|_| KeyServerError::Late)?;
        let unreachable = |text: String| KeyServerError::Unreachable(text);
        let request = Request::get(self.uri.of(id)).header(ACCEPT, HeaderValue::from_static("*/*"));
        let request = request.body(Empty::new()).map_err(|e| unreachable(e.to_string()))?;
        let answer = self.client.request(request).await.map_err(|e| unreachable(describe_error(&e)))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(Answer::Absent),
            status => return Err(KeyServerError::Status(status)),
        }
        let limit = usize::try_from(MAX_KEY).unwrap_or(usize::MAX);
        let body = match Limited::new(answer.into_body(), limit).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Ok(Answer::TooLarge),
            Err(error) => return Err(unreachable(describe_error(&*error))),
        };
        let keys = std::str::from_utf8(&body).map_err(|_| InvalidKey::Form).and_then(PublicKeys::parse);
        Ok(keys.map_or_else(Answer::Invalid, Answer::Keys))
    }
}

impl Known {
    fn read(self) -> Result<Option<PublicKeys>, UnusableKeyError> {
        match self.answer {
            Answer::Keys(keys) => Ok(Some(keys)),
            Answer::Absent => Ok(None),
            Answer::Invalid(error) => Err(error.into()),
            Answer::TooLarge => Err(UnusableKeyError::TooLarge),
            Answer::Failed(error) => Err(UnusableKeyError::Away(error)),
        }
    }
}

#[cfg(test)]
mod tests;
