//! The changes between two lists of routes.
//!
//! Our own: routes are compared by id, whatever their order; a library for differences, such as similar, aligns
//! sequences.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    /// The route was there when the watch began.
    Listed,
    /// The route is new.
    Created,
    /// The route, or its state, is another.
    Changed,
    /// The route is gone.
    Deleted,
}

/// A change of a route, with the route as the gateway shows it or showed it last.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) kind: ChangeKind,
    pub(crate) route: Value,
}

/// Returns the changes from `before` to `after`, by id. Deletions come first, for the host may be another route's now;
/// the rest is in the order of `after`.
pub(crate) fn difference(before: &[Value], after: &[Value]) -> Vec<Event> {
    let of = |kind| move |route: &Value| Event { kind, route: route.clone() };
    let (old, new) = (by_id(before), by_id(after));
    let gone = before.iter().filter(|route| !new.contains_key(id(route))).map(of(ChangeKind::Deleted));
    let rest = after.iter().filter_map(|route| match old.get(id(route)) {
        None => Some(of(ChangeKind::Created)(route)),
        Some(was) if *was == route => None,
        Some(_) => Some(of(ChangeKind::Changed)(route)),
    });
    gone.chain(rest).collect()
}

fn by_id(routes: &[Value]) -> BTreeMap<&str, &Value> {
    routes.iter().map(|route| (id(route), route)).collect()
}

fn id(route: &Value) -> &str {
    route["id"].as_str().unwrap_or_default()
}

impl ChangeKind {
    /// Returns the word for the kind.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Deleted => "deleted",
        }
    }

    /// Returns the sign for the kind, as a plan has it.
    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Self::Listed => "",
            Self::Created => "+",
            Self::Changed => "~",
            Self::Deleted => "-",
        }
    }
}

impl Event {
    /// Returns the JSON form, for programs.
    pub(crate) fn json(&self) -> Value {
        json!({ "event": self.kind.word(), "route": self.route })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(id: &str, state: &str) -> Value {
        json!({ "id": id, "host": format!("{id}.gw.example"), "state": state })
    }

    fn told(before: &[Value], after: &[Value]) -> Vec<String> {
        let events = difference(before, after).into_iter();
        events.map(|event| format!("{}{}", event.kind.sign(), event.route["id"].as_str().unwrap())).collect()
    }

    #[test]
    fn what_came_changed_and_went_is_told_once() {
        let (a, b, c) = (route("a", "active"), route("b", "active"), route("c", "active"));
        let before = [a.clone(), b.clone()];
        assert_eq!(told(&before, &before), [""; 0]);
        assert_eq!(told(&[], &before), ["+a", "+b"]);
        assert_eq!(told(&before, &[]), ["-a", "-b"]);
        assert_eq!(told(&before, &[route("b", "suspended"), a.clone()]), ["~b"], "whatever the order");
        assert_eq!(told(&before, &[c, route("a", "suspended")]), ["-b", "+c", "~a"], "what is gone is first");
    }

    #[test]
    fn a_change_shows_what_is_and_a_deletion_what_was() {
        let (was, is) = (route("a", "waiting_for_certificate"), route("a", "active"));
        assert_eq!(
            difference(std::slice::from_ref(&was), std::slice::from_ref(&is))[0].json(),
            json!({ "event": "changed", "route": is })
        );
        assert_eq!(
            difference(std::slice::from_ref(&is), &[])[0].json(),
            json!({ "event": "deleted", "route": is })
        );
    }

    #[test]
    fn what_a_newer_gateway_says_besides_is_compared_too() {
        let mut more = route("a", "active");
        more["weight"] = 2.into();
        assert_eq!(told(&[route("a", "active")], &[more]), ["~a"]);
    }
}
