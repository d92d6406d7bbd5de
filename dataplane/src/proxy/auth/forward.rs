//! Forward authentication: a service on the overlay decides about each request.

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::options::ForwardAuth;
use webgateway_proto::model::{Backends, Destination, Prefixes, RouteId};

use super::super::forward::forward;
use super::super::outcome::BackendResponse;
use super::pending::{Authentication, PendingRequest};
use crate::backend::connector::Selection;
use crate::context::ConnectionContext;
use crate::http::body::{RequestBody, ResponseBody};
use crate::http::error::ProxyError;
use crate::http::exchange::Exchange;
use crate::http::headers::{self, FieldChange, Forwarded, REMOTE_USER};
use crate::http::incoming::RequestStream;

/// The maximum size of a response of the service, in bytes. It is in memory until the client has read it.
const MAX_RESPONSE: usize = 64 * 1024;

const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// The fields of the client's request that the service does not get: they are about its body, or would make the
/// response of the service depend on a copy that the client has of the requested page.
const ABOUT_CONTENT: [HeaderName; 12] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::TRAILER,
    header::TE,
    header::CONNECTION,
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    REMOTE_USER,
];

/// Asks the service about a request. A 2xx response lets it in; any other one goes to the client.
///
/// # Errors
///
/// Fails if the service does not give a complete response within its timeout.
pub(super) async fn authenticate(
    pending: &PendingRequest<'_>,
    auth: &ForwardAuth,
) -> Result<Authentication, ProxyError> {
    let PendingRequest { connection, route, request, forwarded, exchange } = *pending;
    // A service that leads back here would be asked about its own requests without end.
    if headers::is_loop(request.headers(), forwarded.cdn_id.to_str().unwrap_or_default()) {
        return Err(ProxyError::Loop);
    }
    let asked = ask(connection, route, auth, question(request, auth, forwarded), exchange);
    let response = timeout(auth.timeout(), asked).await.unwrap_or(Err(ProxyError::ResponseTimeout));
    let response = response.map_err(|error| ProxyError::ForwardAuth(Box::new(error)))?;
    if response.status().is_success() {
        return Ok(Authentication::Accepted(changes(auth, response.headers())));
    }
    Ok(Authentication::Answered(Box::new(to_client(response))))
}

/// Creates the request to the service: a GET with the client's fields and the description of its request.
fn question(
    request: &Request<RequestStream>,
    auth: &ForwardAuth,
    forwarded: &Forwarded<'_>,
) -> Box<Request<RequestBody>> {
    let mut question = Request::new(RequestBody::Empty);
    let mut fields = request.headers().clone();
    let Forwarded { client, authority, proto, cdn_id, .. } = *forwarded;
    let plain = Forwarded { client, authority, proto, cdn_id, upgrade: false, changes: &[] };
    headers::to_backend(&mut fields, plain);
    for name in &ABOUT_CONTENT {
        fields.remove(name);
    }
    let uri = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    for (name, value) in [
        (header::HOST, auth.backend().to_string().as_str()),
        (X_FORWARDED_METHOD, request.method().as_str()),
        (X_FORWARDED_URI, uri),
    ] {
        // A method and a URI are always valid field values.
        HeaderValue::from_str(value).into_iter().for_each(|value| drop(fields.insert(name.clone(), value)));
    }
    *question.headers_mut() = fields;
    *question.method_mut() = Method::GET;
    *question.uri_mut() = auth.path().parse().unwrap_or_else(|_| Uri::from_static("/"));
    Box::new(question)
}

/// Sends the request to the service and reads the whole response.
async fn ask(
    connection: &ConnectionContext,
    route: &FeedRoute,
    auth: &ForwardAuth,
    question: Box<Request<RequestBody>>,
    exchange: &Exchange,
) -> Result<Response<Bytes>, ProxyError> {
    // The prefixes were checked when the route was received.
    let any = Prefixes::new(vec![auth.backend().address().ip().into()]);
    let Ok(backends) = Backends::new(vec![auth.backend()], &any) else { return Err(ProxyError::UnknownHost) };
    // The id is not the route's, whose backends are used in turn.
    let (id, host) = (RouteId::from_bytes([0; 16]), route.host.clone());
    let service = FeedRoute { id, host, destination: Destination::from(backends) };
    let mut selection = Selection::new(&service, connection.client);
    let forwarding = forward(connection, &mut selection, question, exchange);
    let BackendResponse { response, lease, .. } = forwarding.await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(ProxyError::UnexpectedUpgrade);
    }
    let (head, body) = response.into_parts();
    let is_success = head.status.is_success();
    let body = match read(body).await {
        Ok(body) => {
            lease.control().into_iter().for_each(|control| control.set_in_flight(false));
            lease.release(connection.worker.clock.now(), true);
            body
        }
        // Of a success only the head matters. The connection is closed, as its response was not read.
        Err(ProxyError::AuthResponseTooLarge) if is_success => Bytes::new(),
        Err(error) => return Err(error),
    };
    Ok(Response::from_parts(head, body))
}

/// Reads a body of at most [`MAX_RESPONSE`] bytes.
async fn read(mut body: Incoming) -> Result<Bytes, ProxyError> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| ProxyError::from(&error))?.into_data() else { continue };
        if read.len() + data.len() > MAX_RESPONSE {
            return Err(ProxyError::AuthResponseTooLarge);
        }
        read.extend_from_slice(&data);
    }
    Ok(read.freeze())
}

/// Returns the changes of the client's request: it has only those of the listed fields that the service sent.
fn changes(auth: &ForwardAuth, response: &HeaderMap) -> Vec<FieldChange> {
    let removed = auth.headers().iter().cloned().chain([REMOTE_USER]).map(|name| (name, None));
    let added = auth
        .headers()
        .iter()
        .flat_map(|name| response.get_all(name).iter().map(|value| (name.clone(), Some(value.clone()))));
    removed.chain(added).collect()
}

/// Creates the response to the client.
fn to_client(response: Response<Bytes>) -> Response<ResponseBody> {
    let (mut head, body) = response.into_parts();
    headers::to_client(&mut head.headers, false);
    head.headers.remove(header::TRAILER);
    head.version = Version::HTTP_11;
    Response::from_parts(head, ResponseBody::fixed(body))
}
