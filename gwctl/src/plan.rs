//! The plan: the changes that make the existing routes match a file.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use webgateway_proto::api::{RouteDelete, RouteUpdate, RouteView};

use crate::manifest::DesiredRoute;

/// The changes to make, and the number of routes that already match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) unchanged: usize,
}

/// One change of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Creates a route that does not exist.
    Create(DesiredRoute),
    /// Updates a route that differs from the file.
    Update(Box<RouteView>, DesiredRoute),
    /// Deletes a route that is not in the file.
    Delete(Box<RouteView>),
}

/// Returns the plan that makes the `actual` routes match the `desired` ones. Routes are compared by host. With `prune`,
/// routes that are only in `actual` are deleted, after all other changes.
pub(crate) fn plan(desired: &[DesiredRoute], actual: &[RouteView], prune: bool) -> Plan {
    let mut unmatched: BTreeMap<&str, &RouteView> =
        actual.iter().map(|route| (route.host.as_str(), route)).collect();
    let mut plan = Plan { steps: Vec::new(), unchanged: 0 };
    for wanted in desired {
        match unmatched.remove(wanted.host.as_str()) {
            None => plan.steps.push(Step::Create(wanted.clone())),
            Some(route) if is_up_to_date(route, wanted) => plan.unchanged += 1,
            Some(route) => plan.steps.push(Step::Update(Box::new(route.clone()), wanted.clone())),
        }
    }
    if prune {
        plan.steps.extend(unmatched.into_values().map(|route| Step::Delete(Box::new(route.clone()))));
    }
    plan
}

/// The change of a field of a route.
#[derive(Debug, PartialEq, Eq)]
struct FieldChange {
    field: &'static str,
    from: String,
    to: String,
}

fn field_changes(route: &RouteView, desired: &DesiredRoute) -> Vec<FieldChange> {
    let mut all = vec![
        FieldChange { field: "backends", from: route.backends.join(", "), to: desired.backends.join(", ") },
        FieldChange { field: "mode", from: route.mode.to_string(), to: desired.mode.to_string() },
    ];
    let options = route.options.describe().into_iter().zip(desired.options.describe());
    all.extend(options.map(|((field, from), (_, to))| FieldChange { field, from, to }));
    all.retain(|change| change.from != change.to);
    all
}

/// Returns true if the route matches the desired one.
fn is_up_to_date(route: &RouteView, desired: &DesiredRoute) -> bool {
    update_params(route, desired) == empty_update(route)
}

/// Returns an update without changes, which fails if the route has changed in the meantime.
fn empty_update(route: &RouteView) -> RouteUpdate {
    RouteUpdate { id: route.id.clone(), expected_version: Some(route.version), ..RouteUpdate::default() }
}

impl Step {
    /// Returns the verb for the step before it is applied.
    const fn verb(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Update(..) => "update",
            Self::Delete(_) => "delete",
        }
    }

    /// Returns the verb for the step after it was applied.
    pub(crate) const fn past_verb(&self) -> &'static str {
        match self {
            Self::Create(_) => "created",
            Self::Update(..) => "updated",
            Self::Delete(_) => "deleted",
        }
    }

    /// Returns the route's host.
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Create(desired) => desired.host.as_str(),
            Self::Update(route, _) | Self::Delete(route) => &route.host,
        }
    }

    /// Returns the step as a line of text.
    pub(crate) fn text(&self) -> String {
        let host = self.host();
        match self {
            Self::Create(desired) => format!("+ create {host} → {}", desired.backends.join(", ")),
            Self::Update(route, desired) => {
                let changes = field_changes(route, desired).into_iter();
                let changes: Vec<String> = changes
                    .map(|FieldChange { field, from, to }| format!("{field}: {from} → {to}"))
                    .collect();
                format!("~ update {host}: {}", changes.join("; "))
            }
            Self::Delete(_) => format!("- delete {host}"),
        }
    }

    /// Returns the step as JSON.
    pub(crate) fn json(&self) -> Value {
        let mut step = json!({ "action": self.verb(), "host": self.host() });
        if let Self::Update(route, desired) = self {
            let changes = field_changes(route, desired).into_iter();
            let changes: serde_json::Map<String, Value> = changes
                .map(|FieldChange { field, from, to }| (field.to_owned(), json!({ "from": from, "to": to })))
                .collect();
            step["changes"] = changes.into();
        }
        step
    }
}

/// Returns the params that make `route` match the desired one, and that fail if it has changed in the meantime.
pub(crate) fn update_params(route: &RouteView, desired: &DesiredRoute) -> RouteUpdate {
    RouteUpdate {
        backends: (route.backends != desired.backends).then(|| desired.backends.clone()),
        mode: (route.mode != desired.mode).then_some(desired.mode),
        options: route.options.patch_to(&desired.options),
        ..empty_update(route)
    }
}

/// Returns the params that delete `route`, and that fail if it has changed in the meantime.
pub(crate) fn delete_params(route: &RouteView) -> RouteDelete {
    RouteDelete { id: route.id.clone(), expected_version: Some(route.version) }
}

#[cfg(test)]
mod tests;
