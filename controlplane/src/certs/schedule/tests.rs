//! Decisions over certificates of every age and in every state.

use std::time::{Duration as StdDuration, Instant};

use proptest::prelude::*;

use super::*;

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

fn base() -> Host {
    host("gw.example")
}

fn held_for(spec: &CertificateSpec, age: Duration, life: Duration) -> CertificateInfo {
    CertificateInfo {
        id: spec.id.clone(),
        names: spec.names.clone(),
        issuer: "internal".into(),
        not_before: NOW - age,
        not_after: NOW - age + life,
    }
}

fn held(spec: &CertificateSpec, age_days: i64) -> CertificateInfo {
    held_for(spec, Duration::days(age_days), Duration::days(90))
}

fn plan_for(hosts: &[&str], held: &[CertificateInfo]) -> CertificatePlan {
    let issuers = ["internal".to_owned()];
    let inventory = Inventory { certificates: held, issuers: &issuers, ..Inventory::default() };
    plan(NOW, &base(), hosts.iter().map(|text| host(text)), inventory)
}

#[test]
fn one_certificate_for_the_base_and_one_for_each_host_it_does_not_cover() {
    let hosts = ["app.gw.example", "deep.app.gw.example", "shop.example", "shop.example"];
    let issue = plan_for(&hosts, &[]).issue;
    let names: Vec<String> =
        issue.iter().map(|w| w.names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(names, ["deep.app.gw.example", "gw.example *.gw.example", "shop.example"]);
}

#[test]
fn what_is_good_stays_until_a_third_is_left() {
    let spec = CertificateSpec::base(&base());
    let fresh = plan_for(&[], &[held(&spec, 59)]);
    assert_eq!(
        fresh,
        CertificatePlan { next_due: Some(NOW + Duration::days(1)), ..CertificatePlan::default() }
    );
    assert_eq!(plan_for(&[], &[held(&spec, 60)]).issue, std::slice::from_ref(&spec));
    assert_eq!(plan_for(&[], &[held(&spec, 1000)]).issue, [spec]);
}

#[test]
fn a_short_life_is_renewed_at_its_half_and_the_ca_is_heard() {
    let spec = CertificateSpec::base(&base());
    let six_days = held_for(&spec, Duration::ZERO, Duration::days(6));
    assert_eq!(renew_at(&six_days, None), NOW + Duration::days(3));
    let ninety = held(&spec, 0);
    assert_eq!(renew_at(&ninety, Some(NOW)), NOW, "revoked: at once");
    assert_eq!(renew_at(&ninety, Some(NOW + Duration::days(70))), NOW + Duration::days(70));
    assert_eq!(renew_at(&ninety, Some(NOW + Duration::days(400))), NOW + Duration::days(75));
}

#[test]
fn another_issuer_or_other_names_mean_a_new_one() {
    let spec = CertificateSpec::base(&base());
    let mut other = held(&spec, 1);
    other.issuer = "https://ca.example/dir".into();
    assert_eq!(plan_for(&[], &[other]).issue, std::slice::from_ref(&spec));
    let mut fewer = held(&spec, 1);
    fewer.names.pop();
    assert_eq!(plan_for(&[], &[fewer]).issue, [spec]);
}

#[test]
fn what_nobody_needs_is_dropped() {
    let shop = CertificateSpec::host(&host("shop.example"), &base()).unwrap();
    let all = [held(&CertificateSpec::base(&base()), 1), held(&shop, 1)];
    assert_eq!(plan_for(&["shop.example"], &all).drop, []);
    let plan = plan_for(&[], &all);
    assert_eq!((plan.issue.len(), plan.drop), (0, vec![shop.id]));
}

#[test]
fn what_cost_an_order_stays_while_it_is_good() {
    let shop = CertificateSpec::host(&host("shop.example"), &base()).unwrap();
    let issuers = ["internal".to_owned()];
    let dropped = |age_days| {
        let held = [held(&shop, age_days)];
        let inventory =
            Inventory { certificates: &held, issuers: &issuers, is_acme: true, ..Inventory::default() };
        plan(NOW, &base(), [], inventory).drop
    };
    assert_eq!(dropped(59), []);
    assert_eq!(dropped(60), [shop.id]);
}

#[test]
fn failures_back_off_and_the_ca_may_ask_for_more() {
    let minutes = |failures| (retry_at(NOW, failures, None) - NOW).whole_minutes();
    assert_eq!([1, 2, 3, 4, 5, 400].map(minutes), [1, 10, 100, 1440, 1440, 1440]);
    let hour = NOW + Duration::hours(1);
    assert_eq!(retry_at(NOW, 1, Some(hour)), hour);
    assert_eq!(retry_at(NOW, 4, Some(hour)), NOW + Duration::days(1));
    assert_eq!(retry_at(NOW, 1, Some(NOW + Duration::days(9999))), NOW + Duration::days(7));
}

#[test]
fn each_ca_is_asked_in_turn() {
    assert_eq!([0, 1, 2, 3, 4].map(|failures| ca_index(failures, 2)), [0, 1, 0, 1, 0]);
    assert_eq!([0, 1, 2, 3].map(|failures| ca_index(failures, 1)), [0; 4]);
}

fn time() -> impl Strategy<Value = OffsetDateTime> {
    (-200_i64..200).prop_map(|hours| NOW + Duration::hours(hours))
}

fn issuance() -> impl Strategy<Value = IssuanceState> {
    let times = (proptest::option::of(time()), proptest::option::of(time()), proptest::option::of(time()));
    (0_u32..6, any::<bool>(), any::<bool>(), times).prop_map(|(failures, failed, requested, times)| {
        IssuanceState {
            failures,
            last_error: failed.then(|| "no".to_owned()),
            renew_requested: requested,
            next_attempt: times.0,
            renew_at: times.1,
            ask_at: times.2,
            ..IssuanceState::new(CertificateId::from(&base()))
        }
    })
}

proptest! {
    #[test]
    fn decisions_are_in_time_and_never_too_early(
        state in issuance(), age in 0_i64..3000, life in 1_i64..3000, holds in any::<bool>(), ask in any::<bool>(),
    ) {
        let spec = CertificateSpec::base(&base());
        let held = held_for(&spec, Duration::hours(age), Duration::hours(life));
        let held = holds.then_some(held);
        let issuers = ["internal".to_owned()];
        let inventory = Inventory { issuers: &issuers, is_acme: ask, ..Inventory::default() };
        let action = decide(NOW, &spec, held.as_ref(), Some(&state), inventory);
        let held_back = state.last_error.is_some() && state.next_attempt.is_some_and(|at| at > NOW);
        match action {
            CertificateAction::Issue => prop_assert!(!holds && (state.renew_requested || !held_back)),
            CertificateAction::Renew => prop_assert!(holds && (state.renew_requested || !held_back)),
            CertificateAction::QueryRenewalInfo => prop_assert!(ask && holds && !state.renew_requested),
            CertificateAction::Wait(until) => {
                prop_assert!(until > NOW && !state.renew_requested);
                // Nothing expires while it waits, unless failures hold it back.
                if let Some(held) = &held {
                    prop_assert!(held_back || until < held.not_after);
                } else {
                    prop_assert!(held_back);
                }
                // When that time comes, something is done.
                let then = decide(until, &spec, held.as_ref(), Some(&state), inventory);
                prop_assert!(!matches!(then, CertificateAction::Wait(again) if again <= until), "{then:?}");
            }
        }
    }
}

#[test]
fn ten_thousand_are_planned_in_a_moment() {
    let hosts: Vec<Host> = (0..10_000).map(|i| host(&format!("h{i}.shop.example"))).collect();
    let spec: Vec<CertificateSpec> =
        hosts.iter().filter_map(|host| CertificateSpec::host(host, &base())).collect();
    let held: Vec<CertificateInfo> = spec.iter().zip(0..).map(|(w, i)| held(w, i % 59)).collect();
    let state: Vec<IssuanceState> = spec.iter().map(|w| IssuanceState::new(w.id.clone())).collect();
    let issuers = ["internal".to_owned()];
    let inventory = Inventory { certificates: &held, issuance: &state, issuers: &issuers, is_acme: false };
    let fastest = (0..5)
        .map(|_| {
            let (hosts, started) = (hosts.clone(), Instant::now());
            assert_eq!(plan(NOW, &base(), hosts, inventory).issue.len(), 1);
            started.elapsed()
        })
        .min();
    println!("10,000 certificates plan_for in {fastest:?}");
    // Measured without optimisation; with it, a few milliseconds.
    assert!(
        fastest.unwrap() < StdDuration::from_millis(if cfg!(debug_assertions) { 250 } else { 50 }),
        "{fastest:?}"
    );
}
