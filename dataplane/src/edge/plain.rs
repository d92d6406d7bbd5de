//! A connection at port 80: redirects known hosts to https, answers ACME challenges, and refuses everything else.

use std::convert::Infallible;
use std::rc::Rc;

use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tracing::{Instrument, debug_span};

use super::admission::AdmittedConnection;
use super::challenge::{self, ChallengeResponder};
use crate::connections::connection_id;
use crate::context::{ConnectionContext, WorkerContext};
use crate::http::body::ResponseBody;
use crate::http::error::ProxyError;
use crate::http::exchange::Exchange;
use crate::http::headers::{self, RequestError, normal_host};
use crate::http::incoming::RequestStream;
use crate::proxy::serve::{mark_last, serve_http1};
use crate::proxy::span::{self, within_span};
use crate::snapshot::Snapshot;

/// Serves a connection to its end.
pub(crate) async fn serve(worker: Rc<WorkerContext>, admitted: AdmittedConnection) {
    let AdmittedConnection { open, stream, origin } = admitted;
    let client = origin.endpoints.source();
    let span = debug_span!("connection", id = connection_id(), %client, port = "http");
    let membership = worker.connections.enter(None);
    let context = Rc::new(ConnectionContext::new(worker, origin, membership, open));
    let serving = Rc::clone(&context);
    let service =
        service_fn(move |request| handle(Rc::clone(&serving), request, serving.progress.begin_exchange()));
    // A disabled span costs one branch.
    if span.is_disabled() {
        serve_http1(&context, stream, service).await;
    } else {
        Box::pin(serve_http1(&context, stream, service)).instrument(span).await;
    }
}

async fn handle(
    connection: Rc<ConnectionContext>,
    request: Request<Incoming>,
    exchange: Rc<Exchange>,
) -> Result<Response<ResponseBody>, Infallible> {
    let request = RequestStream::wrap(request, &connection.progress);
    let answered = if span::is_on() {
        let id = connection.progress.request_count();
        Box::pin(within_span(id, respond(&connection, request, &exchange))).await
    } else {
        respond(&connection, request, &exchange).await
    };
    exchange.mark_answered();
    let mut response = answered.unwrap_or_else(|error| error.response());
    mark_last(&mut response, connection.membership.watch().phase());
    connection.worker.metrics.count_response(response.status());
    Ok(response)
}

async fn respond(
    connection: &ConnectionContext,
    request: Request<RequestStream>,
    exchange: &Rc<Exchange>,
) -> Result<Response<ResponseBody>, ProxyError> {
    let worker = &connection.worker;
    let target = headers::validate(&request, "")?;
    let (method, path) = (request.method(), request.uri().path());
    let responder = challenge::find_responder(&worker.snapshot.load(), &target.host, method, path);
    match responder {
        Some(ChallengeResponder::Gateway(key_authorization)) => {
            Ok(challenge::own_response(&key_authorization))
        }
        Some(ChallengeResponder::Backend(route)) => {
            let authority = &target.authority_value()?;
            Box::pin(challenge::proxy(connection, &route, authority, request, exchange)).await
        }
        None => redirect(&worker.snapshot.load(), &target.host, request.uri(), worker.https_port),
    }
}

/// Creates the redirect to https (308) with the same host, path and query.
///
/// # Errors
///
/// Fails for an unknown host, so that the gateway is not an open redirector.
pub(crate) fn redirect(
    snapshot: &Snapshot,
    host: &str,
    uri: &Uri,
    https_port: u16,
) -> Result<Response<ResponseBody>, ProxyError> {
    if !snapshot.is_base(host) && snapshot.routes.lookup(host).is_none() {
        return Err(ProxyError::UnknownHost);
    }
    let host = normal_host(host)?;
    let port = if https_port == 443 { String::new() } else { format!(":{https_port}") };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let path = if path.starts_with('/') { path } else { "/" };
    let location = format!("https://{host}{port}{path}");
    let location = HeaderValue::from_str(&location).map_err(|_| RequestError::InvalidHost)?;
    let mut response = Response::new(ResponseBody::fixed("308 Permanent Redirect\n"));
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(header::LOCATION, location);
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use webgateway_proto::feed::Settings;
    use webgateway_proto::model::{Host, Prefixes};

    use super::*;

    #[test]
    fn only_known_hosts_are_redirected() {
        let mut snapshot = Snapshot::default();
        let base_domain = Host::parse("gw.example").unwrap();
        snapshot.settings = Some(Arc::new(Settings {
            base_domain,
            allowed_backends: Prefixes::default(),
            listeners: vec![],
        }));
        let location = |host: &str, uri: &str, port| {
            let response = redirect(&snapshot, host, &uri.parse().unwrap(), port)?;
            assert_eq!(response.status(), 308);
            Ok::<_, ProxyError>(response.headers()["location"].to_str().unwrap().to_owned())
        };
        assert_eq!(
            location("gw.example", "/a%2fb//../c?q=%20", 443).unwrap(),
            "https://gw.example/a%2fb//../c?q=%20"
        );
        assert_eq!(
            location("gw.example", "http://evil.example/x", 8443).unwrap(),
            "https://gw.example:8443/x"
        );
        assert_eq!(location("gw.example", "*", 443).unwrap(), "https://gw.example/");
        assert_eq!(location("evil.example", "/", 443), Err(ProxyError::UnknownHost));
    }
}
