//! Sticky sessions: a cookie that names the backend which answered the client's first request.
//!
//! The cookie's value is a keyed hash of the backend's address, so that it reveals nothing; every node computes the same
//! one from the route, and none has to be stored. Its key is the route's id, which clients do not see.

use aws_lc_rs::hmac;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use webgateway_proto::model::Backend;
use webgateway_proto::model::options::Sticky;

use crate::backend::connector::Selection;

/// The number of bytes of a value, before it is written in hexadecimal.
const VALUE_BYTES: usize = 12;

/// The value of a cookie.
type Value = [u8; 2 * VALUE_BYTES];

/// The sticky session of one request.
pub(super) struct StickySession<'a> {
    sticky: &'a Sticky,
    key: hmac::Key,
    /// The backend that the client's cookie names.
    named: Option<Backend>,
}

impl<'a> StickySession<'a> {
    /// Takes the cookie from a request, so that it is not forwarded, and prefers the backend that it names.
    ///
    /// The session is boxed, as most requests have none, and each reserves the space for it.
    pub(super) fn take(
        sticky: &'a Sticky,
        selection: &mut Selection<'_>,
        headers: &mut HeaderMap,
    ) -> Box<Self> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, selection.route.id.as_bytes());
        let given =
            take_cookie(headers, sticky.cookie.as_str()).filter(|given| given.len() == 2 * VALUE_BYTES);
        let named = given.and_then(|given| {
            let mut backends = selection.backends.iter().copied();
            backends.find(|backend| value(&key, *backend)[..] == given[..])
        });
        selection.preferred = named;
        Box::new(Self { sticky, key, named })
    }

    /// Adds the cookie to the response of `backend`, unless the client has it, or the backend sets one of that name.
    pub(super) fn set_cookie(&self, backend: Backend, headers: &mut HeaderMap) {
        let name = self.sticky.cookie.as_str();
        let is_own = |set: &HeaderValue| pair_named(set.as_bytes(), name).is_some();
        if self.named == Some(backend) || headers.get_all(SET_COOKIE).iter().any(is_own) {
            return;
        }
        let value = value(&self.key, backend);
        let value = String::from_utf8_lossy(&value);
        let ttl = self.sticky.ttl.map(|ttl| format!("; Max-Age={}", ttl.seconds())).unwrap_or_default();
        let cookie = format!("{name}={value}; Path=/{ttl}; HttpOnly; Secure; SameSite=Lax");
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            headers.append(SET_COOKIE, cookie);
        }
    }
}

/// Returns the value of the cookie for a backend.
fn value(key: &hmac::Key, backend: Backend) -> Value {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let tag = hmac::sign(key, backend.to_string().as_bytes());
    let mut value = [0; 2 * VALUE_BYTES];
    for (digits, byte) in value.chunks_exact_mut(2).zip(tag.as_ref()) {
        digits.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    value
}

/// Removes all cookies with this name from a request, and returns the value of the first.
fn take_cookie(headers: &mut HeaderMap, name: &str) -> Option<Vec<u8>> {
    let is_named = |field: &HeaderValue| pairs(field.as_bytes()).any(|pair| pair_named(pair, name).is_some());
    if !headers.get_all(COOKIE).iter().any(is_named) {
        return None;
    }
    let fields: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    let mut found = None;
    for field in &fields {
        let mut rest = Vec::with_capacity(field.len());
        for pair in pairs(field.as_bytes()) {
            match pair_named(pair, name) {
                Some(value) => found = found.or_else(|| Some(value.to_vec())),
                None => {
                    rest.extend_from_slice(if rest.is_empty() { b"" } else { b"; " });
                    rest.extend_from_slice(pair);
                }
            }
        }
        if let Ok(rest) = HeaderValue::from_bytes(&rest)
            && !rest.is_empty()
        {
            headers.append(COOKIE, rest);
        }
    }
    found
}

/// Returns the pairs of a Cookie field (RFC 6265 §4.2.1).
fn pairs(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

/// Returns the value of a pair, or of a Set-Cookie field with its attributes, that has this name.
fn pair_named<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (given, value) = pair.split_at_checked(pair.iter().position(|byte| *byte == b'=')?)?;
    (given.trim_ascii() == name.as_bytes()).then(|| value.get(1..).unwrap_or_default().trim_ascii())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use webgateway_proto::feed::FeedRoute;
    use webgateway_proto::model::{Backends, Host, Prefixes, RouteId};

    use super::*;

    fn route(id: u8) -> FeedRoute {
        let backends = Backends::parse(&["[400::1]:80", "[400::2]:80"], &Prefixes::default()).unwrap();
        FeedRoute {
            id: RouteId::from_bytes([id; 16]),
            host: Host::parse("a.gw.example").unwrap(),
            destination: backends.into(),
        }
    }

    fn cookies(fields: &[&[u8]]) -> HeaderMap {
        fields.iter().map(|field| (COOKIE, HeaderValue::from_bytes(field).unwrap())).collect()
    }

    /// Returns the Set-Cookie field of the response of a backend to a request with these Cookie fields.
    fn set(route: &FeedRoute, fields: &[&[u8]], backend: usize, response: &mut HeaderMap) -> Option<String> {
        let (sticky, mut headers) = (Sticky::default(), cookies(fields));
        let mut selection = Selection::new(route, Ipv4Addr::LOCALHOST.into());
        let session = StickySession::take(&sticky, &mut selection, &mut headers);
        assert_eq!(selection.preferred, session.named);
        let before = response.get_all(SET_COOKIE).iter().count();
        session.set_cookie(route.destination.backends.as_slice()[backend], response);
        response.get_all(SET_COOKIE).iter().nth(before).map(|field| field.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_cookie_is_set_only_for_another_backend_than_it_names() {
        let first = set(&route(1), &[], 0, &mut HeaderMap::new()).unwrap();
        let (pair, attributes) = first.split_once(';').unwrap();
        assert_eq!(attributes, " Path=/; HttpOnly; Secure; SameSite=Lax");
        assert!(!first.contains("400"), "the address is private: {first}");
        assert_eq!(set(&route(1), &[], 0, &mut HeaderMap::new()), Some(first.clone()), "stable");
        let pair = pair.as_bytes();
        assert_eq!(set(&route(1), &[pair], 0, &mut HeaderMap::new()), None);
        assert_eq!(set(&route(1), &[b"a=1", pair], 0, &mut HeaderMap::new()), None);
        let moved = set(&route(1), &[pair], 1, &mut HeaderMap::new()).unwrap();
        assert_ne!(moved, first);
        assert_ne!(set(&route(2), &[pair], 0, &mut HeaderMap::new()), None, "another route, another key");
        for garbage in [&b"__Host-backend="[..], b"__Host-backend=x", &[b'='; 9000], b";;;", b"\xff=\xff"] {
            assert_eq!(set(&route(1), &[garbage], 0, &mut HeaderMap::new()), Some(first.clone()));
        }
        let mut response = HeaderMap::new();
        response.append(SET_COOKIE, HeaderValue::from_static("sid=1; Path=/"));
        assert_eq!(set(&route(1), &[], 0, &mut response), Some(first));
        assert_eq!(response.get_all(SET_COOKIE).iter().count(), 2);
        response.append(SET_COOKIE, HeaderValue::from_static("__Host-backend=own"));
        assert_eq!(set(&route(1), &[], 0, &mut response), None, "the backend's own cookie stays");
    }

    #[test]
    fn the_cookie_is_removed_from_the_request_and_no_other_is() {
        for (fields, value, rest) in [
            (&[&b"a=1; b=2"[..]][..], None, &[&b"a=1; b=2"[..]][..]),
            (&[b"s=7"], Some("7"), &[]),
            (&[b"a=1; s=7; b=2"], Some("7"), &[b"a=1; b=2"]),
            (&[b"s=7", b"a=1"], Some("7"), &[b"a=1"]),
            (&[b"s=7; s=8;s=9", b"s=1"], Some("7"), &[]),
            (&[b"ss=1; S=2; s=7=8"], Some("7=8"), &[b"ss=1; S=2"]),
            (&[b"a=s=7"], None, &[b"a=s=7"]),
            (&[b"s"], None, &[b"s"]),
            (&[b"s=; \xe9=1"], Some(""), &[b"\xe9=1"]),
        ] {
            let mut headers = cookies(fields);
            let found = take_cookie(&mut headers, "s");
            assert_eq!(found.as_deref(), value.map(str::as_bytes), "{fields:?}");
            let left: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
            assert_eq!(left, rest);
        }
    }

    #[test]
    fn a_lifetime_becomes_max_age() {
        let sticky = Sticky { ttl: Some(60.try_into().unwrap()), ..Sticky::default() };
        let route = route(1);
        let (mut selection, mut response) =
            (Selection::new(&route, Ipv4Addr::LOCALHOST.into()), HeaderMap::new());
        let session = StickySession::take(&sticky, &mut selection, &mut HeaderMap::new());
        session.set_cookie(route.destination.backends.as_slice()[0], &mut response);
        assert!(response[SET_COOKIE].to_str().unwrap().contains("; Max-Age=60;"));
    }
}
