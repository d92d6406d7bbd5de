//! What has to be done so that the routes are what a file says.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use webgateway_proto::api::{RouteDelete, RouteUpdate, RouteView};

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
            Some(route) if is_met(route, wanted) => plan.unchanged += 1,
            Some(route) => plan.steps.push(Step::Update(Box::new(route.clone()), wanted.clone())),
        }
    }
    if prune {
        plan.steps.extend(left.into_values().map(|route| Step::Delete(Box::new(route.clone()))));
    }
    plan
}

/// A field of a route that is to change.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    field: &'static str,
    from: String,
    to: String,
}

fn differences(route: &RouteView, wanted: &Desired) -> Vec<Difference> {
    let mut all = vec![
        Difference { field: "backends", from: route.backends.join(", "), to: wanted.backends.join(", ") },
        Difference { field: "mode", from: route.mode.to_string(), to: wanted.mode.to_string() },
    ];
    let options = route.options.describe().into_iter().zip(wanted.options.describe());
    all.extend(options.map(|((field, from), (_, to))| Difference { field, from, to }));
    all.retain(|difference| difference.from != difference.to);
    all
}

/// Tells whether the route is what is wanted.
fn is_met(route: &RouteView, wanted: &Desired) -> bool {
    update(route, wanted) == unchanged(route)
}

/// The update that changes nothing, unless the route has changed meanwhile.
fn unchanged(route: &RouteView) -> RouteUpdate {
    RouteUpdate { id: route.id.clone(), expected_version: Some(route.version), ..RouteUpdate::default() }
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
                    changes.map(|Difference { field, from, to }| format!("{field}: {from} → {to}")).collect();
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
                .map(|Difference { field, from, to }| (field.to_owned(), json!({ "from": from, "to": to })))
                .collect();
            step["changes"] = changes.into();
        }
        step
    }
}

/// Returns what makes `route` the one wanted, unless it has changed meanwhile.
pub(crate) fn update(route: &RouteView, wanted: &Desired) -> RouteUpdate {
    RouteUpdate {
        backends: (route.backends != wanted.backends).then(|| wanted.backends.clone()),
        mode: (route.mode != wanted.mode).then_some(wanted.mode),
        options: route.options.patch_to(&wanted.options),
        ..unchanged(route)
    }
}

/// What deletes `route`, unless it has changed meanwhile.
pub(crate) fn delete(route: &RouteView) -> RouteDelete {
    RouteDelete { id: route.id.clone(), expected_version: Some(route.version) }
}

#[cfg(test)]
mod tests;
