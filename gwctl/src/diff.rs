//! The difference between two lists of routes.
//!
//! Routes are compared by id in any order. Diff libraries such as similar compare sequences, which does not fit.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The kind of a [`RouteEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    /// The route existed when the watch began.
    Listed,
    /// The route is new.
    Created,
    /// The route or its state has changed.
    Changed,
    /// The route was deleted.
    Deleted,
}

/// A change of a route, with the route as the gateway last returned it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RouteEvent {
    pub(crate) kind: ChangeKind,
    pub(crate) route: Value,
}

/// Returns the changes from `before` to `after`. Deletions come first, because their hosts may belong to new routes;
/// the rest is in the order of `after`.
pub(crate) fn diff(before: &[Value], after: &[Value]) -> Vec<RouteEvent> {
    let of = |kind| move |route: &Value| RouteEvent { kind, route: route.clone() };
    let (old, new) = (by_id(before), by_id(after));
    let deleted = before.iter().filter(|route| !new.contains_key(id(route))).map(of(ChangeKind::Deleted));
    let others = after.iter().filter_map(|route| match old.get(id(route)) {
        None => Some(of(ChangeKind::Created)(route)),
        Some(old) if *old == route => None,
        Some(_) => Some(of(ChangeKind::Changed)(route)),
    });
    deleted.chain(others).collect()
}

fn by_id(routes: &[Value]) -> BTreeMap<&str, &Value> {
    routes.iter().map(|route| (id(route), route)).collect()
}

fn id(route: &Value) -> &str {
    route["id"].as_str().unwrap_or_default()
}

impl ChangeKind {
    /// Returns the name of the kind in JSON.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Deleted => "deleted",
        }
    }

    /// Returns the sign of the kind in tables, the same as in a plan.
    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Self::Listed => "",
            Self::Created => "+",
            Self::Changed => "~",
            Self::Deleted => "-",
        }
    }
}

impl RouteEvent {
    /// Returns the event as JSON.
    pub(crate) fn json(&self) -> Value {
        json!({ "event": self.kind.as_str(), "route": self.route })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(id: &str, state: &str) -> Value {
        json!({ "id": id, "host": format!("{id}.gw.example"), "state": state })
    }

    fn signs(before: &[Value], after: &[Value]) -> Vec<String> {
        let events = diff(before, after).into_iter();
        events.map(|event| format!("{}{}", event.kind.sign(), event.route["id"].as_str().unwrap())).collect()
    }

    #[test]
    fn each_change_is_one_event() {
        let (a, b, c) = (route("a", "active"), route("b", "active"), route("c", "active"));
        let before = [a.clone(), b.clone()];
        assert_eq!(signs(&before, &before), [""; 0]);
        assert_eq!(signs(&[], &before), ["+a", "+b"]);
        assert_eq!(signs(&before, &[]), ["-a", "-b"]);
        assert_eq!(
            signs(&before, &[route("b", "suspended"), a.clone()]),
            ["~b"],
            "the order does not matter"
        );
        assert_eq!(signs(&before, &[c, route("a", "suspended")]), ["-b", "+c", "~a"], "deletions come first");
    }

    #[test]
    fn a_change_has_the_new_route_and_a_deletion_the_old_one() {
        let (old, new) = (route("a", "waiting_for_certificate"), route("a", "active"));
        assert_eq!(
            diff(std::slice::from_ref(&old), std::slice::from_ref(&new))[0].json(),
            json!({ "event": "changed", "route": new })
        );
        assert_eq!(
            diff(std::slice::from_ref(&new), &[])[0].json(),
            json!({ "event": "deleted", "route": new })
        );
    }

    #[test]
    fn unknown_fields_of_a_newer_gateway_are_compared_too() {
        let mut more = route("a", "active");
        more["weight"] = 2.into();
        assert_eq!(signs(&[route("a", "active")], &[more]), ["~a"]);
    }
}
