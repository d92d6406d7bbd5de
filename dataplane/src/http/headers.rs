//! Heads of proxied messages: validation, removal of hop-by-hop fields, and the fields about the client. Pure
//! functions.

use std::borrow::Cow;

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING,
    UPGRADE,
};
use http::uri::Scheme;
use http::{Method, Request, Version};
use thiserror::Error;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The field with the user whom the gateway has authenticated.
pub(crate) const X_FORWARDED_USER: HeaderName = HeaderName::from_static("x-forwarded-user");
/// The field with the same user, by its other common name.
pub(crate) const REMOTE_USER: HeaderName = HeaderName::from_static("remote-user");
/// The field that reveals forwarding loops (RFC 8586).
const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// The reason why a request cannot be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum RequestError {
    /// The request names no host, as HTTP/1.1 requires it to.
    #[error("it names no host")]
    MissingHost,
    /// The request has several Host fields, or a Host that differs from the authority of its URI.
    #[error("it names more than one host")]
    MultipleHosts,
    /// The host has a userinfo, or characters that no host has.
    #[error("its host is invalid")]
    InvalidHost,
    /// Content-Length comes with Transfer-Encoding or has different values, or Transfer-Encoding is not `chunked`
    /// alone.
    #[error("its length is ambiguous")]
    AmbiguousLength,
    /// The body violates its framing or ended early.
    #[error("its body is invalid or incomplete")]
    InvalidBody,
    /// The path has one rule of the route if it is read in one way, and another one if it is read in another way.
    #[error("its path is ambiguous")]
    AmbiguousPath,
    /// A request for an upgrade has a body.
    #[error("it asks for an upgrade and has a body")]
    UpgradeBody,
}

/// A change of a request's fields: a field is removed, or a value is added to it.
pub(crate) type FieldChange = (HeaderName, Option<HeaderValue>);

/// The host that a request is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestTarget<'a> {
    /// The authority as the client sent it, with the port if it has one.
    pub authority: &'a str,
    /// The Host field with this authority, if there is one.
    pub field: Option<&'a HeaderValue>,
    /// The host, in lower case, without port and trailing dot.
    pub host: Cow<'a, str>,
}

/// The fields that the gateway sets in a request to a backend.
#[derive(Debug)]
pub(crate) struct Forwarded<'a> {
    /// The client's address, for X-Forwarded-For.
    pub client: &'a HeaderValue,
    /// The requested authority, for Host and X-Forwarded-Host.
    pub authority: &'a HeaderValue,
    /// The scheme of the client's request, `https` or `http`, for X-Forwarded-Proto.
    pub proto: &'static str,
    /// The gateway's name in CDN-Loop.
    pub cdn_id: &'a HeaderValue,
    /// Forwards the upgrade to WebSocket that the request asks for.
    pub upgrade: bool,
    /// The changes of fields that the authentication of the client requires, in this order.
    pub changes: &'a [FieldChange],
}

/// Validates a request's head and returns its target.
///
/// # Errors
///
/// Fails if its length or its host is ambiguous or invalid.
pub(crate) fn validate<'a, B>(
    request: &'a Request<B>,
    sni: &'a str,
) -> Result<RequestTarget<'a>, RequestError> {
    let target = target(request, sni)?;
    check_framing(request.headers())?;
    Ok(target)
}

/// Returns the target of a request: from its URI, else from its Host field (RFC 9112 §3.2.2). An HTTP/1.0 request may
/// name no host; then it is `sni`.
pub(crate) fn target<'a, B>(
    request: &'a Request<B>,
    sni: &'a str,
) -> Result<RequestTarget<'a>, RequestError> {
    let mut fields = request.headers().get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(RequestError::MultipleHosts);
    }
    let named = field.map(|host| host.to_str().map_err(|_| RequestError::InvalidHost)).transpose()?;
    let in_uri = request.uri().authority().map(http::uri::Authority::as_str);
    let (authority, field) = match (in_uri, named) {
        (Some(uri), Some(named)) if uri.eq_ignore_ascii_case(named) => (uri, field),
        // Two spellings of one authority: the URI's takes precedence (RFC 9112 §3.2.2, RFC 9113 §8.3.1).
        (Some(uri), Some(named)) => {
            let default = if request.uri().scheme() == Some(&Scheme::HTTP) { 80 } else { 443 };
            let is_same =
                normal_host(uri)? == normal_host(named)? && port(uri, default) == port(named, default);
            (is_same.then_some(uri).ok_or(RequestError::MultipleHosts)?, None)
        }
        (Some(authority), None) | (None, Some(authority)) => (authority, field),
        (None, None) if request.version() == Version::HTTP_10 => (sni, None),
        (None, None) => return Err(RequestError::MissingHost),
    };
    Ok(RequestTarget { authority, field, host: normal_host(authority)? })
}

/// Returns the port of an authority with a valid host; if it is missing or empty, the default port of the scheme.
fn port(authority: &str, default: u16) -> Option<u16> {
    let after_literal = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest);
    match after_literal.rsplit_once(':') {
        None | Some((_, "")) => Some(default),
        Some((_, port)) => port.parse().ok(),
    }
}

impl RequestTarget<'_> {
    /// Returns the authority as a field value.
    pub(crate) fn authority_value(&self) -> Result<HeaderValue, RequestError> {
        match self.field {
            Some(field) => Ok(field.clone()),
            None => HeaderValue::from_str(self.authority).map_err(|_| RequestError::InvalidHost),
        }
    }
}

/// Returns the host of an authority in lower case, without port and trailing dot; an error if it is invalid.
pub(crate) fn normal_host(authority: &str) -> Result<Cow<'_, str>, RequestError> {
    let host = match authority.rsplit_once(':') {
        // An IPv6 literal is a valid host, although no route can have it.
        _ if authority.starts_with('[') => return ipv6_literal(authority).ok_or(RequestError::InvalidHost),
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        Some(_) => return Err(RequestError::InvalidHost),
        None => authority,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if host.is_empty() || !host.bytes().all(allowed) {
        return Err(RequestError::InvalidHost);
    }
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        return Ok(Cow::Owned(host.to_ascii_lowercase()));
    }
    Ok(Cow::Borrowed(host))
}

fn ipv6_literal(authority: &str) -> Option<Cow<'_, str>> {
    let (address, port) = authority.strip_prefix('[')?.split_once(']')?;
    let port_fits = port.is_empty() || port.strip_prefix(':')?.bytes().all(|b| b.is_ascii_digit());
    address.parse::<std::net::Ipv6Addr>().ok().filter(|_| port_fits)?;
    Some(Cow::Owned(format!("[{}]", address.to_ascii_lowercase())))
}

/// Refuses ambiguous framing. The parser has refused most of it already.
fn check_framing(headers: &HeaderMap) -> Result<(), RequestError> {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(encoding) = encodings.next() else {
        return content_length(headers).map(drop).map_err(|()| RequestError::AmbiguousLength);
    };
    let is_chunked = encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if !is_chunked || encodings.next().is_some() || headers.contains_key(CONTENT_LENGTH) {
        return Err(RequestError::AmbiguousLength);
    }
    Ok(())
}

/// Returns the value of Content-Length, which may be repeated (RFC 9110 §8.6).
///
/// # Errors
///
/// Fails if a value is not a number, or if values differ.
pub(crate) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, ()> {
    let mut length = None;
    for field in headers.get_all(CONTENT_LENGTH) {
        for value in field.to_str().map_err(drop)?.split(',').map(str::trim) {
            // `parse` accepts a sign, Content-Length does not.
            let is_number = value.bytes().all(|b| b.is_ascii_digit());
            let value: u64 = value.parse().ok().filter(|_| is_number).ok_or(())?;
            if length.replace(value).is_some_and(|before| before != value) {
                return Err(());
            }
        }
    }
    Ok(length)
}

/// Returns whether an HTTP/1.1 request asks for an upgrade to WebSocket (RFC 9110 §7.8, RFC 6455 §4.1), the only
/// protocol that is forwarded. After an upgrade to another one, a client could send requests that the gateway does not
/// see.
#[must_use]
pub(crate) fn is_websocket_upgrade<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    headers.contains_key(UPGRADE)
        && request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && contains_token(headers, CONNECTION, "upgrade")
        && contains_token(headers, UPGRADE, "websocket")
}

/// Returns whether a 101 response switches to WebSocket and to nothing else.
#[must_use]
pub(crate) fn switches_to_websocket(headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(UPGRADE).iter();
    let is_first = fields.next().is_some_and(|field| field.as_bytes().eq_ignore_ascii_case(b"websocket"));
    is_first && fields.next().is_none()
}

/// Returns whether a request went through the gateway `cdn_id` before (RFC 8586 §2).
#[must_use]
pub(crate) fn is_loop(headers: &HeaderMap, cdn_id: &str) -> bool {
    if !headers.contains_key(CDN_LOOP) {
        return false;
    }
    let lines = headers.get_all(CDN_LOOP).iter().filter_map(|value| value.to_str().ok());
    let mut ids = lines.flat_map(|line| line.split(',')).map(|id| id.split(';').next().unwrap_or_default());
    ids.any(|id| id.trim() == cdn_id)
}

/// Rewrites a request's head for a backend.
pub(crate) fn to_backend(headers: &mut HeaderMap, forwarded: Forwarded<'_>) {
    let accepts_trailers = accepts_trailers(headers);
    strip(headers, |name| is_hop_by_hop(name) || is_reserved(name));
    join_cookies(headers);
    for (name, value) in forwarded.changes {
        match value {
            Some(value) => drop(headers.append(name, value.clone())),
            None => drop(headers.remove(name)),
        }
    }
    headers.insert(HOST, forwarded.authority.clone());
    headers.insert(X_FORWARDED_FOR, forwarded.client.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(forwarded.proto));
    headers.insert(X_FORWARDED_HOST, forwarded.authority.clone());
    headers.append(CDN_LOOP, forwarded.cdn_id.clone());
    if accepts_trailers {
        // TE is hop by hop, so Connection must name it (RFC 9110 §10.1.4).
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if forwarded.upgrade {
        headers.append(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
}

/// Rewrites a response's head for a client. `upgrade` adds the fields of a 101 to WebSocket.
pub(crate) fn to_client(headers: &mut HeaderMap, upgrade: bool) {
    strip(headers, is_hop_by_hop);
    if upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
}

/// Returns whether a request's TE says that the client accepts trailers (RFC 9110 §10.1.4).
pub(crate) fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.contains_key(TE) && contains_token(headers, TE, "trailers")
}

/// Returns whether a field is always hop by hop (RFC 9110 §7.6.1), whatever Connection names.
pub(super) fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "http2-settings"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Returns whether a client's field must not reach a backend: only the gateway may set it, or it has acted on it
/// (Expect is answered when the body is read). Names with an underscore are among them: CGI-like backends read
/// `X_Real_IP` as `X-Real-IP`.
pub(super) fn is_reserved(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || matches!(name, "forwarded" | "x-real-ip" | "expect")
        || name.as_bytes().contains(&b'_')
}

/// Removes the fields that `is_removed` selects and those that Connection names, except Host and Content-Length.
fn strip(headers: &mut HeaderMap, is_removed: impl Fn(&str) -> bool) {
    let mut removed = named_by_connection(headers);
    removed.retain(|name| *name != HOST && *name != CONTENT_LENGTH);
    removed.extend(headers.keys().filter(|name| is_removed(name.as_str())).cloned());
    removed.iter().for_each(|name| drop(headers.remove(name)));
}

/// Returns the fields that Connection names, which are hop by hop (RFC 9110 §7.6.1).
pub(super) fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok());
    let tokens = lines.flat_map(|line| line.split(',')).map(str::trim);
    let fields = tokens.filter(|token| !matches!(*token, "keep-alive" | "close"));
    fields.filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok()).collect()
}

/// Joins Cookie fields into one: HTTP/2 may split them, HTTP/1.1 must not (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, cookie);
    }
}

/// Returns whether a list field contains a token, in any case.
fn contains_token(headers: &HeaderMap, field: HeaderName, token: &str) -> bool {
    let lines = headers.get_all(field).iter().filter_map(|value| value.to_str().ok());
    let mut tokens = lines.flat_map(|line| line.split(',')).map(str::trim);
    tokens.any(|named| named.eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests;
