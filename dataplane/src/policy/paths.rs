//! The path rules of a route: the rule that a request has, and its effect.

mod reading;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Request, Response, Uri, header};
use webgateway_proto::model::Backends;
use webgateway_proto::model::options::{PathAction, PathPattern, PathRule, PathRules, Redirect, Rewrite};

use self::reading::{Readings, read};
use crate::http::body::ResponseBody;
use crate::http::headers::RequestError;

/// The field with the prefix that was removed from the path.
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// The effect of a route's path rules on a request.
#[derive(Debug)]
pub(crate) enum PathDecision<'a> {
    /// The request, whose path may have changed, is forwarded.
    Forward(PathTarget<'a>),
    /// The request is redirected.
    Redirect(Response<ResponseBody>),
}

/// The target of a request by its path.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PathTarget<'a> {
    /// The backends of the rule; `None` for those of the route.
    pub backends: Option<&'a Backends>,
    /// The prefix that was removed from the path.
    pub prefix: Option<&'a HeaderValue>,
}

impl PathTarget<'_> {
    /// Adds the removed prefix to the request's fields.
    pub(crate) fn describe(&self, headers: &mut http::HeaderMap) {
        if let Some(prefix) = self.prefix {
            headers.insert(X_FORWARDED_PREFIX, prefix.clone());
        }
    }
}

/// Applies the rule for a request's path.
///
/// # Errors
///
/// Fails if the path can be read in several ways that have different rules, or is too long after the change.
pub(crate) fn apply<'a, B>(
    rules: &'a PathRules,
    request: &mut Request<B>,
) -> Result<PathDecision<'a>, RequestError> {
    if rules.is_empty() {
        return Ok(PathDecision::Forward(PathTarget::default()));
    }
    let uri = request.uri();
    let Some(rule) = find(rules, uri.path())? else {
        return Ok(PathDecision::Forward(PathTarget::default()));
    };
    let (rest, query) = (rest(rule.pattern(), uri.path()), uri.query());
    match rule.action() {
        PathAction::Redirect(redirect) => {
            Ok(PathDecision::Redirect(redirect_response(redirect, &redirect.location(rest, query))?))
        }
        PathAction::Forward { backends, rewrite } => {
            let (base, prefix) = match rewrite {
                Rewrite::Keep => (None, None),
                Rewrite::Strip(prefix) => (Some(""), Some(prefix)),
                Rewrite::Replace { encoded, .. } => (Some(&**encoded), None),
            };
            if let Some(base) = base {
                let path = rewritten(base, rest, query);
                *request.uri_mut() = with_path(uri, path).ok_or(RequestError::AmbiguousPath)?;
            }
            Ok(PathDecision::Forward(PathTarget { backends: backends.as_ref(), prefix }))
        }
    }
}

/// Returns the rule for a path.
fn find<'a>(rules: &'a PathRules, path: &str) -> Result<Option<&'a PathRule>, RequestError> {
    if path == "*" {
        // OPTIONS for the server as a whole (RFC 9110 §9.3.7).
        return Ok(None);
    }
    let position = match read(path).ok_or(RequestError::AmbiguousPath)? {
        Readings::Same(path) => rules.position(path),
        Readings::Different { strict, lenient } => {
            let position = rules.position(&strict);
            if position != rules.position(&lenient) {
                return Err(RequestError::AmbiguousPath);
            }
            position
        }
    };
    Ok(position.and_then(|position| rules.as_slice().get(position)))
}

/// Returns the rest of a path after the prefix, as the client sent it: empty, or with a leading slash. The strict
/// reading has the same segments as the path, so the prefix ends after as many slashes as it has itself.
fn rest<'a>(pattern: &PathPattern, path: &'a str) -> &'a str {
    let Some(prefix) = pattern.as_prefix() else { return "" };
    let slashes = prefix.as_str().matches('/').count();
    path.match_indices('/').nth(slashes).and_then(|(at, _)| path.get(at..)).unwrap_or_default()
}

/// Returns the path and query of a request whose prefix becomes `base`. The path never begins with two slashes, which
/// some servers take for the beginning of a host.
fn rewritten(base: &str, rest: &str, query: Option<&str>) -> String {
    let path = match base {
        "" => format!("/{}", rest.trim_start_matches('/')),
        base => format!("{base}{rest}"),
    };
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

fn with_path(uri: &Uri, path: String) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

fn redirect_response(redirect: &Redirect, location: &str) -> Result<Response<ResponseBody>, RequestError> {
    let location = HeaderValue::from_str(location).map_err(|_| RequestError::AmbiguousPath)?;
    let status = redirect.status();
    let text = format!("{} {}\n", status.as_u16(), status.canonical_reason().unwrap_or_default());
    let mut response = Response::new(ResponseBody::fixed(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> PathRules {
        let texts = [
            "/api=[400::2]:80,strip",
            "/api/v2=[400::3]:80,replace:/two",
            "/app=replace:/",
            "/s=replace:/longer",
            "/caf\u{e9}=strip",
            "exact:/robots.txt=[400::4]:80",
            "/old=301:/new{path}",
            "/gone=302:https://x.example/",
        ];
        PathRules::new(texts.iter().map(|text| text.parse().unwrap()).collect()).unwrap()
    }

    /// Returns the first backend, the target, and the removed prefix; or the location of the redirect.
    fn applied(target: &str) -> Result<(Option<String>, String, String), RequestError> {
        let mut request = Request::builder().uri(target).body(()).unwrap();
        let rules = rules();
        match apply(&rules, &mut request)? {
            PathDecision::Redirect(response) => {
                let location = response.headers()[header::LOCATION].to_str().unwrap().to_owned();
                Ok((None, location, response.status().as_str().to_owned()))
            }
            PathDecision::Forward(PathTarget { backends, prefix }) => {
                let backend = backends.map(|backends| backends.as_slice()[0].to_string());
                let prefix = prefix.map_or("", |prefix| prefix.to_str().unwrap());
                Ok((backend, request.uri().to_string(), prefix.to_owned()))
            }
        }
    }

    #[test]
    fn a_rule_chooses_backends_and_changes_the_path() {
        for (target, backend, forwarded, more) in [
            ("/", None, "/", ""),
            ("/apix?q", None, "/apix?q", ""),
            ("*", None, "*", ""),
            ("/api", Some("[400::2]:80"), "/", "/api"),
            ("/api?a=b&c=/..", Some("[400::2]:80"), "/?a=b&c=/..", "/api"),
            ("/api/", Some("[400::2]:80"), "/", "/api"),
            ("/api/x%2Fy;z/?q=%20", Some("[400::2]:80"), "/x%2Fy;z/?q=%20", "/api"),
            ("/API/X", Some("[400::2]:80"), "/X", "/api"),
            ("/%61pi/x", Some("[400::2]:80"), "/x", "/api"),
            ("/api//evil.example", Some("[400::2]:80"), "/evil.example", "/api"),
            ("/api/v2", Some("[400::3]:80"), "/two", ""),
            ("/api/v2/x?", Some("[400::3]:80"), "/two/x?", ""),
            ("/api/v20", Some("[400::2]:80"), "/v20", "/api"),
            ("/app", None, "/", ""),
            ("/app/x", None, "/x", ""),
            ("/app//x", None, "/x", ""),
            ("/caf%C3%A9/x", None, "/x", "/caf%C3%A9"),
            ("/robots.txt", Some("[400::4]:80"), "/robots.txt", ""),
            ("/robots.txt/", None, "/robots.txt/", ""),
            ("https://a.example/api/x?q", Some("[400::2]:80"), "https://a.example/x?q", "/api"),
            ("https://a.example", None, "https://a.example/", ""),
            ("/old", None, "/new", "301"),
            ("/old/x%2e?q=1", None, "/new/x%2e?q=1", "301"),
            ("/gone/x?q=1", None, "https://x.example/?q=1", "302"),
        ] {
            let expected = (backend.map(str::to_owned), forwarded.to_owned(), more.to_owned());
            assert_eq!(applied(target), Ok(expected), "{target}");
        }
    }

    #[test]
    fn a_path_that_may_have_another_rule_is_refused() {
        for target in [
            "//api",
            "//api/x",
            "/;x/api",
            "/api;x",
            "/api%2fx",
            "/api%2Fv2",
            "/api%252fx",
            "/api\\x",
            "/api%5cx",
            "/api//v2",
            "/api/v2;x",
            "/api/v2%20",
            "/api./x",
            "/api%3f",
            "/api%23",
            "/x/../api",
            "/x/%2e%2e/api",
            "/x/..%2fapi",
            "/x/..;/api",
            "/api/../x",
            "/%2fapi",
            "/robots.txt;x",
            "/robots.txt%3f",
            "/robots%2etxt.",
        ] {
            assert_eq!(applied(target), Err(RequestError::AmbiguousPath), "{target}");
        }
        for target in ["/x//y", "/x;y/z", "/x%2fapi", "/x/api//", "/wiki/Inc.", "/x/%2520", "/apis;x"] {
            assert_eq!(applied(target).unwrap().1, target, "all readings have the same rule");
        }
    }

    #[test]
    fn a_path_that_becomes_too_long_is_refused() {
        let target = |rest: usize| format!("/s/{}", "x".repeat(rest));
        assert!(applied(&target(60_000)).is_ok());
        assert!(applied(&target(65_530)).is_err());
    }
}
