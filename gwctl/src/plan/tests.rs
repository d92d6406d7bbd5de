//! Tests of plans and of the routes after a plan was applied.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::subsequence;
use webgateway_proto::api::RouteState;
use webgateway_proto::model::{Balance, HealthCheck, Mode, RouteOptions};

use super::*;
use crate::manifest::HostSpec;

fn wanted(host: &str, port: u16) -> DesiredRoute {
    DesiredRoute {
        host: HostSpec::Host(host.to_owned()),
        backends: vec![format!("[400::1]:{port}")],
        mode: Mode::Terminate,
        options: RouteOptions::default(),
    }
}

fn stored(wanted: &DesiredRoute, version: u64) -> RouteView {
    RouteView {
        id: format!("id of {}", wanted.host.as_str()),
        owner: "user1.pub".to_owned(),
        host: wanted.host.as_str().to_owned(),
        mode: wanted.mode,
        backends: wanted.backends.clone(),
        options: wanted.options.clone(),
        state: RouteState::Active,
        reason: None,
        records: Vec::new(),
        version,
        created_at: String::new(),
        updated_at: String::new(),
    }
}

/// Applies a plan as the gateway would.
fn apply(plan: &Plan, mut routes: Vec<RouteView>) -> Vec<RouteView> {
    for step in &plan.steps {
        match step {
            Step::Create(wanted) => {
                assert!(routes.iter().all(|route| route.host != wanted.host.as_str()), "the host is taken");
                routes.push(stored(wanted, 9));
            }
            Step::Update(route, wanted) => {
                let update = update_params(route, wanted);
                let found = routes.iter_mut().find(|route| route.id == update.id).unwrap();
                assert_eq!(update.expected_version, Some(found.version));
                found.backends = update.backends.unwrap_or(found.backends.clone());
                found.mode = update.mode.unwrap_or(found.mode);
                found.options = found.options.patched(update.options);
                found.version += 1;
            }
            Step::Delete(route) => {
                let delete = delete_params(route);
                let is_same = |other: &RouteView| other.id == delete.id;
                assert_eq!(
                    delete.expected_version,
                    routes.iter().find(|other| is_same(other)).map(|other| other.version)
                );
                routes.retain(|other| !is_same(other));
            }
        }
    }
    routes
}

#[test]
fn each_step_is_described_in_a_line() {
    let desired = [wanted("a.example", 80), wanted("b.example", 81), wanted("c.example", 82)];
    let existing = [wanted("b.example", 80), wanted("c.example", 82), wanted("d.example", 83)];
    let actual: Vec<RouteView> = existing.iter().map(|route| stored(route, 1)).collect();
    let plan = plan(&desired, &actual, true);
    let lines: Vec<String> = plan.steps.iter().map(Step::text).collect();
    assert_eq!(
        lines,
        [
            "+ create a.example → [400::1]:80",
            "~ update b.example: backends: [400::1]:80 → [400::1]:81",
            "- delete d.example",
        ]
    );
    assert_eq!(plan.unchanged, 1);
    assert_eq!(plan.steps[1].json()["changes"]["backends"]["to"], "[400::1]:81");
}

prop_compose! {
    fn route(host: &'static str)(
        ports in prop::collection::btree_set(1..5_u16, 1..4),
        random in any::<bool>(),
        passthrough in any::<bool>(),
        interval in prop::option::of(1..3_u64),
    ) -> DesiredRoute {
        DesiredRoute {
            host: HostSpec::Host(host.to_owned()),
            backends: ports.into_iter().map(|port| format!("[400::1]:{port}")).collect(),
            mode: if passthrough { Mode::Passthrough } else { Mode::Terminate },
            options: RouteOptions {
                balance: if random { Balance::Random } else { Balance::RoundRobin },
                health: interval
                    .map(|seconds| HealthCheck::new(None, Duration::from_secs(seconds), 1, 1).unwrap()),
                ..RouteOptions::default()
            },
        }
    }
}

fn some_routes() -> impl Strategy<Value = Vec<DesiredRoute>> {
    let hosts = vec!["a.example", "b.example", "c.example", "d.example", "e.example"];
    subsequence(hosts, 0..=5)
        .prop_flat_map(|hosts| hosts.into_iter().map(route).collect::<Vec<_>>())
        .prop_shuffle()
}

proptest! {
    #[test]
    fn an_applied_plan_yields_the_desired_routes(desired in some_routes(), existing in some_routes(), prune: bool) {
        let actual: Vec<RouteView> = existing.iter().map(|route| stored(route, 1)).collect();
        let first = plan(&desired, &actual, prune);
        let after = apply(&first, actual.clone());
        for wanted in &desired {
            let found = after.iter().find(|route| route.host == wanted.host.as_str()).unwrap();
            prop_assert_eq!(&stored(wanted, found.version), found);
        }
        let kept = actual.iter().filter(|route| desired.iter().all(|wanted| wanted.host.as_str() != route.host));
        let kept = if prune { 0 } else { kept.count() };
        prop_assert_eq!(after.len(), desired.len() + kept);
        let again = plan(&desired, &after, prune);
        prop_assert_eq!(again, Plan { steps: Vec::new(), unchanged: desired.len() });
    }
}
