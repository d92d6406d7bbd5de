//! HTTP-01 at :80 (RFC 8555 §8.3): ours is answered here, a passthrough host's own goes to its backend.

use std::num::NonZeroU16;
use std::rc::Rc;

use http::{HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::Mode;

use crate::http::body::ResponseBody;
use crate::http::error::Fault;
use crate::http::exchange::Progress;
use crate::http::forward::{Answer, forward};
use crate::http::handler::outgoing;
use crate::http::headers::{self, Forwarded, Target};
use crate::proxy::Proxy;
use crate::snapshot::{ServedChallenge, Snapshot};

const PATH: &str = "/.well-known/acme-challenge/";
/// Where a CA asks, and so where a backend that gets its own certificates answers.
const HTTP_PORT: NonZeroU16 = NonZeroU16::new(80).unwrap();

/// Who answers a request under [`PATH`].
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// We do, with this body.
    Ours(Box<str>),
    /// The backend of this route.
    Theirs(Box<FeedRoute>),
}

/// Who answers a request for `host` and `path`, if it is a challenge that anybody answers. Pure.
pub fn asked(snapshot: &Snapshot, host: &str, method: &Method, path: &str) -> Option<Asked> {
    let token = path.strip_prefix(PATH).filter(|_| method == Method::GET || method == Method::HEAD)?;
    let route = snapshot.routes.lookup(host).filter(|_| !snapshot.is_base(host));
    if let Some(route) = route.filter(|route| route.destination.mode == Mode::Passthrough) {
        let backends = route.destination.backends.at_port(HTTP_PORT);
        let destination = backends.into();
        return Some(Asked::Theirs(Box::new(FeedRoute { destination, ..FeedRoute::clone(route) })));
    }
    match snapshot.challenges.lookup(host).map(AsRef::as_ref) {
        Some(ServedChallenge::Http { token: expected, key_authorization }) if **expected == *token => {
            Some(Asked::Ours(key_authorization.clone()))
        }
        Some(ServedChallenge::Http { .. } | ServedChallenge::TlsAlpn(_)) | None => None,
    }
}

/// Our own answer.
pub fn ours(key_authorization: &str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::fixed(key_authorization.to_owned()));
    let binary = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, binary);
    response
}

/// Asks the backend.
pub async fn theirs(
    proxy: &Rc<Proxy>,
    route: &FeedRoute,
    mut request: Request<Incoming>,
    client: &HeaderValue,
) -> Result<Response<ResponseBody>, Fault> {
    let authority = headers::target(&request, "").and_then(|target: Target<'_>| target.authority_value())?;
    let base = proxy.snapshot.load().settings.as_ref().map(|settings| settings.base_domain.to_string());
    let base = base.unwrap_or_default();
    if headers::is_loop(request.headers(), &base) {
        return Err(Fault::Loop);
    }
    let cdn_id = HeaderValue::from_str(&base).map_err(|_| Fault::Loop)?;
    let forwarded =
        Forwarded { client, authority: &authority, proto: "http", cdn_id: &cdn_id, upgrade: None };
    headers::to_backend(request.headers_mut(), forwarded);
    let exchange = Progress::new(Rc::clone(&proxy.clock)).begin();
    let Answer { mut response, lease } =
        forward(proxy, route, outgoing(request, &exchange), &exchange).await?;
    headers::to_visitor(response.headers_mut(), false);
    let (head, body) = response.into_parts();
    let body = ResponseBody::backend(body, exchange, lease, proxy.limits.stall_timeout);
    Ok(Response::from_parts(head, body))
}

#[cfg(test)]
mod tests {
    use webgateway_proto::feed::{Challenge, ChallengeResponse};
    use webgateway_proto::model::{Backends, Destination, Host, Prefixes, RouteId};

    use super::*;

    #[test]
    fn a_token_is_answered_for_its_host_alone() {
        let mut snapshot = Snapshot::default();
        let response = ChallengeResponse::Http { token: "tok".into(), key_authorization: "tok.key".into() };
        let challenge = Challenge { host: Host::parse("own.example").unwrap(), response };
        snapshot.challenges.insert(&challenge).unwrap();
        let backends = Backends::parse(&["[400::1]:8443", "[400::1]:9443"], &Prefixes::default()).unwrap();
        snapshot.routes.insert(FeedRoute {
            id: RouteId::generate(),
            host: Host::parse("pass.example").unwrap(),
            destination: Destination { mode: Mode::Passthrough, ..backends.into() },
        });
        let ask = |host, method: Method, path| asked(&snapshot, host, &method, path);
        let expected = Some(Asked::Ours("tok.key".into()));
        assert_eq!(ask("own.example", Method::GET, "/.well-known/acme-challenge/tok"), expected);
        assert_eq!(ask("own.example", Method::POST, "/.well-known/acme-challenge/tok"), None);
        assert_eq!(ask("own.example", Method::GET, "/.well-known/acme-challenge/other"), None);
        assert_eq!(ask("own.example", Method::GET, "/tok"), None);
        assert_eq!(ask("other.example", Method::GET, "/.well-known/acme-challenge/tok"), None);
        let Some(Asked::Theirs(route)) = ask("pass.example", Method::GET, "/.well-known/acme-challenge/x")
        else {
            panic!("a passthrough host's own challenge goes to its backend");
        };
        assert_eq!(route.destination.backends.as_slice(), [("[400::1]:80").parse().unwrap()]);
    }
}
