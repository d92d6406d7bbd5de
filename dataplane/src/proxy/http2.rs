//! Forwarding of a request over HTTP/2, with retries of what the backend has certainly not processed.

use std::error::Error;
use std::pin::pin;
use std::rc::Rc;

use http::header::{CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{Method, Request, Uri, Version};
use hyper::client::conn::TrySendError;
use tokio::time::{Instant, timeout};
use tracing::debug;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::Backend;
use webgateway_proto::model::options::Timeout;

use super::outcome::{BackendResponse, SendError, in_time};
use crate::backend::dial::DialError;
use crate::backend::http2::{Http2Connection, StreamPermit};
use crate::backend::lease::Lease;
use crate::backend::pool_key::PoolKey;
use crate::backend::stream::BackendStream;
use crate::backend::transport::Transport;
use crate::context::WorkerContext;
use crate::http::body::RequestBody;
use crate::http::error::ProxyError;
use crate::http::exchange::Exchange;
use crate::http::framing::{Direction, TrailerRules, frame_response};
use crate::http::headers::RequestError;

/// The maximum number of connections on which a request is sent to one backend.
const MAX_ATTEMPTS: usize = 3;

/// The certainty that a backend has not processed a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Processed {
    /// The backend says that it has not (RFC 9113 §6.8, §8.7).
    No,
    /// The connection ended, and the backend may have.
    Unknown,
    /// The backend has, at least in part.
    Yes,
}

/// Sends a request on a connection that others share, or on a new one if those have no free stream.
pub(super) async fn send(
    worker: &Rc<WorkerContext>,
    route: &FeedRoute,
    key: PoolKey,
    mut request: Box<Request<RequestBody>>,
    exchange: &Exchange,
) -> Result<BackendResponse, SendError> {
    if request.headers().contains_key(UPGRADE) {
        return Err(SendError::Sent(ProxyError::UpgradeOverHttp2));
    }
    let has_tls = route.destination.options.backend_protocol.has_tls();
    let scheme = if has_tls { Scheme::HTTPS } else { Scheme::HTTP };
    to_http2(&mut request, scheme).map_err(|error| SendError::Sent(error.into()))?;
    request.body_mut().send_trailer_frame();
    let mut attempt = 1;
    loop {
        let permit = match permit(worker, route, &key).await {
            Ok(permit) => permit,
            Err(error) => return Err(SendError::Unsent(request, error.into())),
        };
        // The copy of a request with content would need the content.
        let copy = matches!(request.body(), RequestBody::Empty).then(|| copy_of(&request));
        let failed = match send_on(worker, key.backend, permit, request, exchange).await {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        request = match (failed, copy) {
            (Failure::Unsent(unsent), _) if attempt < MAX_ATTEMPTS => unsent,
            (Failure::Unsent(unsent), _) => {
                return Err(SendError::Unsent(unsent, ProxyError::ConnectionClosed));
            }
            (Failure::Sent(_, processed), Some(copy)) if may_repeat(processed, copy.method(), attempt) => {
                copy
            }
            (Failure::Sent(error, _), _) => return Err(SendError::Sent(error)),
        };
        attempt += 1;
    }
}

/// The failure of one attempt.
enum Failure {
    /// The connection took no more requests; the request is returned.
    Unsent(Box<Request<RequestBody>>),
    /// The request was sent, at least in part.
    Sent(ProxyError, Processed),
}

/// Sends a request on one stream and waits for the response head.
async fn send_on(
    worker: &WorkerContext,
    backend: Backend,
    permit: StreamPermit<RequestBody>,
    request: Box<Request<RequestBody>>,
    exchange: &Exchange,
) -> Result<BackendResponse, Failure> {
    let (is_head, begun) = (request.method() == Method::HEAD, Instant::now());
    let mut sender = permit.sender();
    let sent = pin!(sender.try_send_request(*request));
    match in_time(sent, exchange, worker.limits.response_timeout).await {
        Some(Ok(mut response)) => {
            permit.record_response();
            let rules = TrailerRules::from_head(response.headers(), Direction::ToClient);
            frame_response(&mut response, is_head, &rules)
                .map_err(|error| Failure::Sent(error.into(), Processed::Yes))?;
            Ok(BackendResponse { response, backend, lease: Lease::Stream(permit), rules })
        }
        Some(Err(error)) => {
            debug!(error = %error.error(), "no response from backend");
            Err(failure(error, &permit))
        }
        None => {
            // Without any response meanwhile, the host may be gone, and a new connection may work. A short limit of this
            // route says nothing about the host.
            let limit = worker.limits.response_timeout;
            if exchange.bounds.first_byte_or(limit) >= limit && !permit.has_responded_since(begun) {
                permit.retire();
            }
            Err(Failure::Sent(ProxyError::ResponseTimeout, Processed::Yes))
        }
    }
}

/// Classifies a failure to send, and retires a connection that takes no more requests.
fn failure(mut failed: TrySendError<Request<RequestBody>>, permit: &StreamPermit<RequestBody>) -> Failure {
    if let Some(request) = failed.take_message() {
        permit.retire();
        return Failure::Unsent(Box::new(request));
    }
    let Some(error) = failed.error().source().and_then(|source| source.downcast_ref::<h2::Error>()) else {
        return Failure::Sent(failed.error().into(), Processed::Unknown);
    };
    if !error.is_reset() {
        permit.retire();
    }
    classify(error)
}

fn classify(error: &h2::Error) -> Failure {
    let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    if error.is_remote() && (error.is_go_away() || is_refused) {
        // After GOAWAY, only the streams that the backend will not process fail at once.
        return Failure::Sent(ProxyError::Unprocessed, Processed::No);
    }
    match error.reason() {
        Some(_) if error.is_library() => {
            Failure::Sent(ProxyError::InvalidResponse(error.to_string().into()), Processed::Yes)
        }
        Some(reason) if error.is_reset() => Failure::Sent(ProxyError::StreamReset(reason), Processed::Yes),
        _ => Failure::Sent(ProxyError::ConnectionClosed, Processed::Unknown),
    }
}

/// Returns whether a request without content may be sent again after this attempt. If it may be the reason why the
/// connection ended, it is sent once more at most.
fn may_repeat(processed: Processed, method: &Method, attempt: usize) -> bool {
    match processed {
        Processed::No => attempt < MAX_ATTEMPTS,
        Processed::Unknown => attempt == 1 && method.is_idempotent(),
        Processed::Yes => false,
    }
}

/// Takes a permit for a stream to the backend.
async fn permit(
    worker: &WorkerContext,
    route: &FeedRoute,
    key: &PoolKey,
) -> Result<StreamPermit<RequestBody>, DialError> {
    let group = worker.pool.http2().group(key, route).ok_or(DialError::NoHttp2)?;
    let connect = route.destination.options.timeouts.connect;
    let deadline = Instant::now() + connect.map_or(worker.limits.connect_timeout, Timeout::duration);
    let permit = group.permit(deadline, async || open(worker, key, group.transport(), connect).await).await;
    permit.inspect_err(|error| {
        if *error == DialError::Busy {
            worker.metrics.count_backend_failure(error.proxy_error());
        }
    })
}

/// Opens a connection, and reports its success or failure.
async fn open(
    worker: &WorkerContext,
    key: &PoolKey,
    transport: &Transport,
    connect: Option<Timeout>,
) -> Result<Http2Connection<RequestBody>, DialError> {
    let stream = worker.connector.dial(key.backend, &key.header, connect).await?;
    let begun = timeout(worker.limits.connect_timeout, begin(worker, stream, transport)).await;
    worker.connector.record_begin(key.backend, transport, begun.unwrap_or(Err(DialError::Timeout)))
}

async fn begin(
    worker: &WorkerContext,
    stream: BackendStream,
    transport: &Transport,
) -> Result<Http2Connection<RequestBody>, DialError> {
    stream.keep_alive()?;
    let (tasks, limits) = (&worker.tasks, &worker.limits);
    if transport.tls.is_none() {
        return Http2Connection::begin(tasks, stream, limits).await;
    }
    let stream = worker.connector.secure(stream, transport).await?;
    Http2Connection::begin(tasks, stream, limits).await
}

/// Rewrites a request for HTTP/1.1 in origin form for HTTP/2 (RFC 9113 §8.2.2, §8.3.1). A request that was rewritten
/// before keeps its authority, unless it has a new Host.
fn to_http2(request: &mut Request<RequestBody>, scheme: Scheme) -> Result<(), RequestError> {
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.remove(CONNECTION);
    headers.remove(TRANSFER_ENCODING);
    let Some(host) = headers.remove(HOST) else { return Ok(()) };
    let mut parts = Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(Authority::try_from(host.as_bytes()).map_err(|_| RequestError::InvalidHost)?);
    let path = request.uri().path_and_query().cloned();
    parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| RequestError::InvalidHost)?;
    Ok(())
}

/// Returns a copy of a request without content.
fn copy_of(request: &Request<RequestBody>) -> Box<Request<RequestBody>> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Box::new(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_rewritten_for_http2() {
        for (host, uri, expected) in [
            ("a.example", "/x?y=1", "https://a.example/x?y=1"),
            ("a.example:8443", "/", "https://a.example:8443/"),
            ("[400::1]:80", "/a%20b", "https://[400::1]:80/a%20b"),
            ("a_b.example", "/", "https://a_b.example/"),
        ] {
            let mut request = Request::get(uri)
                .header(HOST, host)
                .header(CONNECTION, "te")
                .header("te", "trailers")
                .header(TRANSFER_ENCODING, "chunked")
                .body(RequestBody::Empty)
                .unwrap();
            to_http2(&mut request, Scheme::HTTPS).unwrap();
            assert_eq!(
                (request.uri().to_string(), request.version()),
                (expected.to_owned(), Version::HTTP_2)
            );
            let names: Vec<&str> = request.headers().keys().map(http::HeaderName::as_str).collect();
            assert_eq!(names, ["te"]);
            let again = copy_of(&request);
            to_http2(&mut request, Scheme::HTTPS).unwrap();
            assert_eq!(request.uri(), again.uri(), "a second backend");
            request.headers_mut().insert(HOST, "[400::2]:80".parse().unwrap());
            to_http2(&mut request, Scheme::HTTPS).unwrap();
            assert_eq!(request.uri().authority().map(Authority::as_str), Some("[400::2]:80"));
        }
    }

    #[test]
    fn only_what_was_not_processed_is_repeated() {
        for (processed, get, post) in [
            (Processed::No, [true, true, false], [true, true, false]),
            (Processed::Unknown, [true, false, false], [false; 3]),
            (Processed::Yes, [false; 3], [false; 3]),
        ] {
            let repeated = |method: &Method| [1, 2, 3].map(|attempt| may_repeat(processed, method, attempt));
            assert_eq!((repeated(&Method::GET), repeated(&Method::POST)), (get, post), "{processed:?}");
        }
    }
}
