//! The changes of header fields that a route's options require.

use http::HeaderMap;
use http::header::STRICT_TRANSPORT_SECURITY;
use webgateway_proto::model::RouteOptions;
use webgateway_proto::model::options::{HeaderChanges, HeaderField};

/// Changes the fields of a message that a client or a backend sent.
pub(crate) fn change(changes: &HeaderChanges, headers: &mut HeaderMap) {
    for name in changes.remove() {
        headers.remove(name);
    }
    for (name, value) in changes.set() {
        headers.insert(name, value.clone());
    }
    for (name, value) in changes.add() {
        headers.append(name, value.clone());
    }
}

/// Changes the fields of a response of the gateway itself. Its own fields stay as they are: an error must not become
/// cacheable, nor a redirect lead elsewhere.
pub(crate) fn change_own(changes: &HeaderChanges, headers: &mut HeaderMap) {
    let is_free = |headers: &HeaderMap, (name, _): &HeaderField| !headers.contains_key(name);
    let added: Vec<&HeaderField> = changes.add().iter().filter(|field| is_free(headers, field)).collect();
    for field @ (name, value) in changes.set() {
        if is_free(headers, field) {
            headers.insert(name, value.clone());
        }
    }
    for (name, value) in added {
        headers.append(name, value.clone());
    }
}

/// Sets Strict-Transport-Security, if the route has it, in place of the backend's.
pub(crate) fn set_hsts(options: &RouteOptions, headers: &mut HeaderMap) {
    if let Some(hsts) = &options.hsts {
        headers.insert(STRICT_TRANSPORT_SECURITY, hsts.value().clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn changes() -> HeaderChanges {
        let set = [("x-a", "set"), ("cache-control", "public")];
        HeaderChanges::parse(
            &["x-b", "x-c"],
            &set,
            &[("x-a", "more"), ("x-c", "new"), ("x-d", "1"), ("x-d", "2")],
        )
        .unwrap()
    }

    #[test]
    fn fields_are_removed_then_set_then_added() {
        let mut headers =
            fields(&[("x-a", "1"), ("x-a", "2"), ("x-b", "1"), ("x-c", "1"), ("x-d", "0"), ("x-e", "1")]);
        change(&changes(), &mut headers);
        let expected = fields(&[
            ("x-a", "set"),
            ("x-a", "more"),
            ("cache-control", "public"),
            ("x-c", "new"),
            ("x-d", "0"),
            ("x-d", "1"),
            ("x-d", "2"),
            ("x-e", "1"),
        ]);
        assert_eq!(headers, expected);
    }

    #[test]
    fn the_gateways_own_fields_stay() {
        let own = [("cache-control", "no-store"), ("x-b", "own"), ("x-d", "own")];
        let mut headers = fields(&own);
        change_own(&changes(), &mut headers);
        let expected = fields(&[own[0], own[1], own[2], ("x-a", "set"), ("x-a", "more"), ("x-c", "new")]);
        assert_eq!(headers, expected);
    }
}
