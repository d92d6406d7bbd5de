//! Heads on their way through: checked, stripped of what is hop by hop, and told of the client. Pure.

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
/// RFC 8586.
const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// The reason why a request cannot be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum RequestError {
    /// HTTP/1.1 without Host.
    #[error("it names no host")]
    MissingHost,
    /// Two Host fields, or two that differ.
    #[error("it names more than one host")]
    MultipleHosts,
    /// A host with a userinfo, or characters no host has.
    #[error("its host is malformed")]
    InvalidHost,
    /// Content-Length beside Transfer-Encoding, a Transfer-Encoding other than chunked, or lengths that differ.
    #[error("its length is told in two ways")]
    AmbiguousLength,
    /// A body that is not framed as it said, or that ended early.
    #[error("its body is malformed or incomplete")]
    InvalidBody,
    /// An upgrade that has a body.
    #[error("an upgrade has no body")]
    UpgradeBody,
}

/// The host a request is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestTarget<'a> {
    /// The authority as it was sent, port included.
    pub authority: &'a str,
    /// The Host field that says so, if one does.
    pub field: Option<&'a HeaderValue>,
    /// The host in lower case, without port or trailing dot.
    pub host: Cow<'a, str>,
}

/// The gateway's own fields of a request, which tell the backend of the client.
#[derive(Debug)]
pub(crate) struct Forwarded<'a> {
    /// The client's address.
    pub client: &'a HeaderValue,
    /// The host and port that the client asked for.
    pub authority: &'a HeaderValue,
    /// The scheme of the client's request: `https` or `http`.
    pub proto: &'static str,
    /// The gateway's name in CDN-Loop.
    pub cdn_id: &'a HeaderValue,
    /// Forwards the upgrade to WebSocket that the request asks for.
    pub upgrade: bool,
}

/// Checks a head's framing and returns the host it is for, so that no path goes on with a request in doubt.
///
/// # Errors
///
/// Fails if its length can be read in two ways, or its host.
pub(crate) fn validate<'a, B>(
    request: &'a Request<B>,
    sni: &'a str,
) -> Result<RequestTarget<'a>, RequestError> {
    let target = target(request, sni)?;
    check_framing(request.headers())?;
    Ok(target)
}

/// Returns the host of a request: its URI's, else its Host field (RFC 9112 §3.2.2); `sni` for HTTP/1.0, which may name none.
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
        // Two spellings of one authority: the URI's goes on (RFC 9112 §3.2.2, RFC 9113 §8.3.1).
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

/// Returns the port of an authority whose host is normal: without one, or with an empty one, the default of its scheme.
fn port(authority: &str, default: u16) -> Option<u16> {
    let behind = authority.rsplit_once(']').map_or(authority, |(_, behind)| behind);
    match behind.rsplit_once(':') {
        None | Some((_, "")) => Some(default),
        Some((_, port)) => port.parse().ok(),
    }
}

impl RequestTarget<'_> {
    /// Returns the authority as a field of its own.
    pub(crate) fn authority_value(&self) -> Result<HeaderValue, RequestError> {
        match self.field {
            Some(field) => Ok(field.clone()),
            None => HeaderValue::from_str(self.authority).map_err(|_| RequestError::InvalidHost),
        }
    }
}

/// Returns the host of an authority in lower case, without port or trailing dot; refuses what is no host name.
pub(crate) fn normal_host(authority: &str) -> Result<Cow<'_, str>, RequestError> {
    let host = match authority.rsplit_once(':') {
        // An IPv6 literal is a host as well, if one that no route is for.
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

/// Refuses what two readers could read in two ways. The parser has refused most of it already.
fn check_framing(headers: &HeaderMap) -> Result<(), RequestError> {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(encoding) = encodings.next() else {
        return content_length(headers).map(drop).map_err(|()| RequestError::AmbiguousLength);
    };
    let chunked = encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if !chunked || encodings.next().is_some() || headers.contains_key(CONTENT_LENGTH) {
        return Err(RequestError::AmbiguousLength);
    }
    Ok(())
}

/// Returns the length that Content-Length states, be it several times (RFC 9110 §8.6).
///
/// # Errors
///
/// Fails if one of its values is no number, or another one.
pub(crate) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, ()> {
    let mut length = None;
    for field in headers.get_all(CONTENT_LENGTH) {
        for value in field.to_str().map_err(drop)?.split(',').map(str::trim) {
            // A number may begin with a sign where it is parsed.
            let is_number = value.bytes().all(|b| b.is_ascii_digit());
            let value: u64 = value.parse().ok().filter(|_| is_number).ok_or(())?;
            if length.replace(value).is_some_and(|before| before != value) {
                return Err(());
            }
        }
    }
    Ok(length)
}

/// Returns whether an HTTP/1.1 request asks to switch to WebSocket (RFC 9110 §7.8, RFC 6455 §4.1), the only protocol that
/// is forwarded. Beyond it, no rule about fields would hold.
#[must_use]
pub(crate) fn asks_for_websocket<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    headers.contains_key(UPGRADE)
        && request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && names(headers, CONNECTION, "upgrade")
        && names(headers, UPGRADE, "websocket")
}

/// Returns whether a 101 switches to WebSocket and to nothing else.
#[must_use]
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(UPGRADE).iter();
    let is_named = fields.next().is_some_and(|field| field.as_bytes().eq_ignore_ascii_case(b"websocket"));
    is_named && fields.next().is_none()
}

/// Returns whether a request went through the gateway of this name before (RFC 8586 §2).
#[must_use]
pub(crate) fn is_loop(headers: &HeaderMap, cdn_id: &str) -> bool {
    if !headers.contains_key(CDN_LOOP) {
        return false;
    }
    let lines = headers.get_all(CDN_LOOP).iter().filter_map(|value| value.to_str().ok());
    let mut ids = lines.flat_map(|line| line.split(',')).map(|id| id.split(';').next().unwrap_or_default());
    ids.any(|id| id.trim() == cdn_id)
}

/// Makes a request's head fit for a backend.
pub(crate) fn to_backend(headers: &mut HeaderMap, forwarded: Forwarded<'_>) {
    let trailers = takes_trailers(headers);
    strip(headers, |name| is_hop_by_hop(name) || is_for_the_edge(name));
    join_cookies(headers);
    headers.insert(HOST, forwarded.authority.clone());
    headers.insert(X_FORWARDED_FOR, forwarded.client.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(forwarded.proto));
    headers.insert(X_FORWARDED_HOST, forwarded.authority.clone());
    headers.append(CDN_LOOP, forwarded.cdn_id.clone());
    if trailers {
        // TE is for the next hop alone, and says so (RFC 9110 §10.1.4).
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if forwarded.upgrade {
        headers.append(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
}

/// Makes a response's head fit for a client; `upgrade` adds what a 101 to WebSocket needs.
pub(crate) fn to_client(headers: &mut HeaderMap, upgrade: bool) {
    strip(headers, is_hop_by_hop);
    if upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
}

/// Returns whether a request says that its client takes trailers (RFC 9110 §10.1.4).
pub(crate) fn takes_trailers(headers: &HeaderMap) -> bool {
    headers.contains_key(TE) && names(headers, TE, "trailers")
}

/// Returns whether a field is hop by hop (RFC 9110 §7.6.1) without being named by Connection.
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

/// Returns whether a field is one that only the edge may set, or has dealt with: Expect was answered when the body was asked for.
/// CGI-like backends read `X_Real_IP` as `X-Real-IP`.
pub(super) fn is_for_the_edge(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || matches!(name, "forwarded" | "x-real-ip" | "expect")
        || name.as_bytes().contains(&b'_')
}

/// Drops the fields that `drops` names, and those that Connection names. That cannot take away what we set, which
/// is set afterwards; Host and what frames the body are not Connection's to name.
fn strip(headers: &mut HeaderMap, drops: impl Fn(&str) -> bool) {
    let mut dropped = named_by_connection(headers);
    dropped.retain(|name| *name != HOST && *name != CONTENT_LENGTH);
    dropped.extend(headers.keys().filter(|name| drops(name.as_str())).cloned());
    dropped.iter().for_each(|name| drop(headers.remove(name)));
}

/// Returns the fields that Connection names: they are for the next recipient alone (RFC 9110 §7.6.1).
pub(super) fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok());
    let tokens = lines.flat_map(|line| line.split(',')).map(str::trim);
    let fields = tokens.filter(|token| !matches!(*token, "keep-alive" | "close"));
    fields.filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok()).collect()
}

/// HTTP/2 may split Cookie, HTTP/1.1 must not (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, cookie);
    }
}

/// Returns whether a list field names a token, in any case.
fn names(headers: &HeaderMap, field: HeaderName, token: &str) -> bool {
    let lines = headers.get_all(field).iter().filter_map(|value| value.to_str().ok());
    let mut tokens = lines.flat_map(|line| line.split(',')).map(str::trim);
    tokens.any(|named| named.eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests;
