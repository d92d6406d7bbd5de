//! One connection at :80: every known host is sent to https, challenges are answered, nothing else is served.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::challenge::{self, Asked};
use crate::connections::Phase;
use crate::http::body::ResponseBody;
use crate::http::error::Fault;
use crate::http::headers::{BadRequest, normal_host, target};
use crate::http::serve::http1_builder;
use crate::metrics::Refusal;
use crate::proxy::Proxy;
use crate::snapshot::Snapshot;

/// Serves a connection until it is done.
pub async fn connection(proxy: Rc<Proxy>, stream: TcpStream, peer: SocketAddr) {
    let membership = proxy.connections.enter(None);
    let (answering, watch) = (Rc::clone(&proxy), Rc::clone(membership.watch()));
    let service = service_fn(move |request: Request<Incoming>| {
        let (proxy, watch) = (Rc::clone(&answering), Rc::clone(&watch));
        async move {
            let answered = answer(&proxy, request, peer).await;
            let mut response = answered.unwrap_or_else(|fault| fault.response());
            if watch.phase() > Phase::Open {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            proxy.metrics.answered(response.status());
            Ok::<_, Infallible>(response)
        }
    });
    let serving = http1_builder(&proxy.limits).serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let ending = async {
        tokio::select! {
            biased;
            ended = serving.as_mut() => return ended,
            () = membership.watch().lingered() => {}
        }
        serving.as_mut().graceful_shutdown();
        serving.await
    };
    let lifetime = tokio::time::sleep(proxy.limits.header_timeout * 4);
    tokio::select! {
        ended = ending => if ended.is_err_and(|error| error.is_parse()) {
            proxy.metrics.refused(Refusal::NotHttp);
        },
        () = membership.watch().reaches(Phase::Cut) => {}
        () = lifetime => {}
    }
}

async fn answer(
    proxy: &Rc<Proxy>,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response<ResponseBody>, Fault> {
    let host = target(&request, "")?.host.into_owned();
    let (method, path) = (request.method(), request.uri().path());
    let asked = challenge::asked(&proxy.snapshot.load(), &host, method, path);
    match asked {
        Some(Asked::Ours(key_authorization)) => Ok(challenge::ours(&key_authorization)),
        Some(Asked::Theirs(route)) => {
            let client = peer.ip().to_canonical().to_string();
            let client = HeaderValue::from_str(&client).map_err(|_| BadRequest::Host)?;
            Box::pin(challenge::theirs(proxy, &route, request, &client)).await
        }
        None => redirect(&proxy.snapshot.load(), &host, request.uri(), proxy.https_port),
    }
}

/// 308 to https for a known host: same host, path and query; never for an unknown one.
pub fn redirect(
    snapshot: &Snapshot,
    host: &str,
    uri: &Uri,
    https_port: u16,
) -> Result<Response<ResponseBody>, Fault> {
    if !snapshot.is_base(host) && snapshot.routes.lookup(host).is_none() {
        return Err(Fault::UnknownHost);
    }
    let host = normal_host(host)?;
    let port = if https_port == 443 { String::new() } else { format!(":{https_port}") };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let path = if path.starts_with('/') { path } else { "/" };
    let location = format!("https://{host}{port}{path}");
    let location = HeaderValue::from_str(&location).map_err(|_| BadRequest::Host)?;
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
        snapshot.settings = Some(Arc::new(Settings { base_domain, allowed_backends: Prefixes::default() }));
        let location = |host: &str, uri: &str, port| {
            let response = redirect(&snapshot, host, &uri.parse().unwrap(), port)?;
            assert_eq!(response.status(), 308);
            Ok::<_, Fault>(response.headers()["location"].to_str().unwrap().to_owned())
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
        assert_eq!(location("evil.example", "/", 443), Err(Fault::UnknownHost));
    }
}
