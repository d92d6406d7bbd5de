//! HTTP-01 challenges at port 80 (RFC 8555 §8.3): the gateway answers its own, those of passthrough hosts go to
//! backends.

use std::num::NonZeroU16;
use std::rc::Rc;

use http::{HeaderValue, Method, Request, Response, header};
use webgateway_proto::feed::FeedRoute;
use webgateway_proto::model::Mode;

use crate::context::{ConnectionContext, cdn_id, client_value};
use crate::http::body::ResponseBody;
use crate::http::error::ProxyError;
use crate::http::exchange::Exchange;
use crate::http::headers::Forwarded;
use crate::http::incoming::RequestStream;
use crate::policy::paths::PathTarget;
use crate::proxy::request::{ProxyTarget, proxy_request};
use crate::snapshot::{ServedChallenge, Snapshot};

/// The path prefix of HTTP-01 challenges.
const PATH: &str = "/.well-known/acme-challenge/";
/// The port at which a CA requests challenges, and at which a backend with certificates of its own answers them.
const HTTP_PORT: NonZeroU16 = NonZeroU16::new(80).unwrap();

/// The responder to a challenge request under [`PATH`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ChallengeResponder {
    /// The gateway itself, with this key authorization as the body.
    Gateway(Box<str>),
    /// A backend of this route, whose port is 80.
    Backend(Box<FeedRoute>),
}

/// Returns the responder to a request for `host` and `path`; `None` if it is not a known challenge.
pub(crate) fn find_responder(
    snapshot: &Snapshot,
    host: &str,
    method: &Method,
    path: &str,
) -> Option<ChallengeResponder> {
    let token = path.strip_prefix(PATH).filter(|_| method == Method::GET || method == Method::HEAD)?;
    let route = snapshot.routes.lookup(host).filter(|_| !snapshot.is_base(host));
    if let Some(route) = route.filter(|route| route.destination.mode == Mode::Passthrough) {
        let backends = route.destination.backends.at_port(HTTP_PORT);
        let destination = backends.into();
        return Some(ChallengeResponder::Backend(Box::new(FeedRoute {
            destination,
            ..FeedRoute::clone(route)
        })));
    }
    match snapshot.challenges.lookup(host).map(AsRef::as_ref) {
        Some(ServedChallenge::Http { token: expected, key_authorization }) if **expected == *token => {
            Some(ChallengeResponder::Gateway(key_authorization.clone()))
        }
        Some(ServedChallenge::Http { .. } | ServedChallenge::TlsAlpn(_)) | None => None,
    }
}

/// Creates the gateway's own response to a challenge.
pub(crate) fn own_response(key_authorization: &str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::fixed(key_authorization.to_owned()));
    let binary = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, binary);
    response
}

/// Proxies a challenge request to a backend. Upgrades are not possible at port 80.
pub(crate) async fn proxy(
    connection: &ConnectionContext,
    route: &FeedRoute,
    authority: &HeaderValue,
    mut request: Request<RequestStream>,
    exchange: &Rc<Exchange>,
) -> Result<Response<ResponseBody>, ProxyError> {
    request.headers_mut().remove(header::UPGRADE);
    let client = &client_value(connection.client);
    let cdn_id = &cdn_id(&connection.worker.snapshot.load());
    let forwarded = Forwarded { client, authority, proto: "http", cdn_id, upgrade: false, changes: &[] };
    let target = ProxyTarget { route, path: PathTarget::default(), forwarded };
    proxy_request(connection, target, request, exchange).await
}

#[cfg(test)]
mod tests {
    use webgateway_proto::feed::{Challenge, ChallengeResponse};
    use webgateway_proto::model::{Backends, Destination, Host, Prefixes, RouteId};

    use super::*;

    #[test]
    fn a_token_is_answered_only_for_its_host() {
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
        let ask = |host, method: Method, path| find_responder(&snapshot, host, &method, path);
        let expected = Some(ChallengeResponder::Gateway("tok.key".into()));
        assert_eq!(ask("own.example", Method::GET, "/.well-known/acme-challenge/tok"), expected);
        assert_eq!(ask("own.example", Method::POST, "/.well-known/acme-challenge/tok"), None);
        assert_eq!(ask("own.example", Method::GET, "/.well-known/acme-challenge/other"), None);
        assert_eq!(ask("own.example", Method::GET, "/tok"), None);
        assert_eq!(ask("other.example", Method::GET, "/.well-known/acme-challenge/tok"), None);
        let Some(ChallengeResponder::Backend(route)) =
            ask("pass.example", Method::GET, "/.well-known/acme-challenge/x")
        else {
            panic!("a challenge of a passthrough host goes to its backend");
        };
        assert_eq!(route.destination.backends.as_slice(), [("[400::1]:80").parse().unwrap()]);
    }
}
