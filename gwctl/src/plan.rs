//! What has to be done so that the routes are what a file says.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use webgateway_proto::api::{HealthSpec, RouteDelete, RouteUpdate, RouteView};

use crate::manifest::Desired;

/// What is to be done, and what is as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) unchanged: usize,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is no such route.
    Create(Desired),
    /// It is another one.
    Update(Box<RouteView>, Desired),
    /// The file does not have it.
    Delete(Box<RouteView>),
}

/// Compares by host. What only `actual` has is deleted if `prune` says so, last.
pub(crate) fn plan(desired: &[Desired], actual: &[RouteView], prune: bool) -> Plan {
    let mut left: BTreeMap<&str, &RouteView> =
        actual.iter().map(|route| (route.host.as_str(), route)).collect();
    let mut plan = Plan { steps: Vec::new(), unchanged: 0 };
    for wanted in desired {
        match left.remove(wanted.place.text()) {
            None => plan.steps.push(Step::Create(wanted.clone())),
            Some(route) if differences(route, wanted).is_empty() => plan.unchanged += 1,
            Some(route) => plan.steps.push(Step::Update(Box::new(route.clone()), wanted.clone())),
        }
    }
    if prune {
        plan.steps.extend(left.into_values().map(|route| Step::Delete(Box::new(route.clone()))));
    }
    plan
}

/// A field, how it is, and how it shall be.
type Difference = (&'static str, String, String);

fn differences(route: &RouteView, wanted: &Desired) -> Vec<Difference> {
    let all = [
        ("backends", route.backends.join(", "), wanted.backends.join(", ")),
        ("balance", route.balance.to_string(), wanted.balance.to_string()),
        ("mode", route.mode.to_string(), wanted.mode.to_string()),
        ("health", checked(route.health.as_ref()), checked(wanted.health.as_ref())),
    ];
    all.into_iter().filter(|(_, from, to)| from != to).collect()
}

fn checked(health: Option<&HealthSpec>) -> String {
    health.map_or_else(
        || "none".to_owned(),
        |HealthSpec { path, interval, rise, fall }| {
            format!("{} every {interval} s, {rise} up, {fall} down", path.as_deref().unwrap_or("tcp"))
        },
    )
}

impl Step {
    /// The word for it, and what it has become.
    pub(crate) const fn words(&self) -> (&'static str, &'static str) {
        match self {
            Self::Create(_) => ("create", "created"),
            Self::Update(..) => ("update", "updated"),
            Self::Delete(_) => ("delete", "deleted"),
        }
    }

    /// The route's host.
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Create(wanted) => wanted.place.text(),
            Self::Update(route, _) | Self::Delete(route) => &route.host,
        }
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let host = self.host();
        match self {
            Self::Create(wanted) => format!("+ create {host} → {}", wanted.backends.join(", ")),
            Self::Update(route, wanted) => {
                let changes = differences(route, wanted).into_iter();
                let changes: Vec<String> =
                    changes.map(|(what, from, to)| format!("{what}: {from} → {to}")).collect();
                format!("~ update {host}: {}", changes.join("; "))
            }
            Self::Delete(_) => format!("- delete {host}"),
        }
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let mut step = json!({ "action": self.words().0, "host": self.host() });
        if let Self::Update(route, wanted) = self {
            let changes = differences(route, wanted).into_iter();
            let changes: serde_json::Map<String, Value> = changes
                .map(|(what, from, to)| (what.to_owned(), json!({ "from": from, "to": to })))
                .collect();
            step["changes"] = changes.into();
        }
        step
    }
}

/// What makes `route` the one wanted, unless it has changed meanwhile.
pub(crate) fn update(route: &RouteView, wanted: &Desired) -> RouteUpdate {
    let changed: Vec<&str> = differences(route, wanted).into_iter().map(|(what, ..)| what).collect();
    let is = |what: &str| changed.contains(&what);
    RouteUpdate {
        id: route.id.clone(),
        backends: is("backends").then(|| wanted.backends.clone()),
        balance: is("balance").then_some(wanted.balance),
        mode: is("mode").then_some(wanted.mode),
        health: is("health").then(|| wanted.health.clone()),
        expected_version: Some(route.version),
        ..RouteUpdate::default()
    }
}

/// What deletes `route`, unless it has changed meanwhile.
pub(crate) fn delete(route: &RouteView) -> RouteDelete {
    RouteDelete { id: route.id.clone(), expected_version: Some(route.version) }
}

#[cfg(test)]
mod tests;
