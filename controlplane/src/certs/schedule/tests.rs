//! Decisions on certificates of every age and state.

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

fn certificate_with_lifetime(spec: &CertificateSpec, age: Duration, life: Duration) -> CertificateInfo {
    CertificateInfo {
        id: spec.id.clone(),
        names: spec.names.clone(),
        issuer: "internal".into(),
        not_before: NOW - age,
        not_after: NOW - age + life,
    }
}

fn certificate(spec: &CertificateSpec, age_days: i64) -> CertificateInfo {
    certificate_with_lifetime(spec, Duration::days(age_days), Duration::days(90))
}

fn plan_for(hosts: &[&str], certificates: &[CertificateInfo]) -> CertificatePlan {
    let issuers = ["internal".to_owned()];
    let inventory = Inventory { certificates, issuers: &issuers, ..Inventory::default() };
    plan(NOW, &base(), hosts.iter().map(|text| host(text)), inventory)
}

#[test]
fn the_base_domain_and_each_host_outside_it_get_one_certificate() {
    let hosts = ["app.gw.example", "deep.app.gw.example", "shop.example", "shop.example"];
    let issue = plan_for(&hosts, &[]).issue;
    let names: Vec<String> =
        issue.iter().map(|w| w.names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(names, ["deep.app.gw.example", "gw.example *.gw.example", "shop.example"]);
}

#[test]
fn a_valid_certificate_is_kept_until_a_third_of_its_lifetime_is_left() {
    let spec = CertificateSpec::base(&base());
    let young = plan_for(&[], &[certificate(&spec, 59)]);
    assert_eq!(
        young,
        CertificatePlan { next_due: Some(NOW + Duration::days(1)), ..CertificatePlan::default() }
    );
    assert_eq!(plan_for(&[], &[certificate(&spec, 60)]).issue, std::slice::from_ref(&spec));
    assert_eq!(plan_for(&[], &[certificate(&spec, 1000)]).issue, [spec]);
}

#[test]
fn short_lifetimes_are_renewed_at_one_half_and_the_ca_may_choose_the_time() {
    let spec = CertificateSpec::base(&base());
    let six_days = certificate_with_lifetime(&spec, Duration::ZERO, Duration::days(6));
    assert_eq!(renew_at(&six_days, None), NOW + Duration::days(3));
    let ninety = certificate(&spec, 0);
    assert_eq!(renew_at(&ninety, Some(NOW)), NOW, "revoked: at once");
    assert_eq!(renew_at(&ninety, Some(NOW + Duration::days(70))), NOW + Duration::days(70));
    assert_eq!(renew_at(&ninety, Some(NOW + Duration::days(400))), NOW + Duration::days(75));
}

#[test]
fn another_issuer_or_other_names_require_a_new_certificate() {
    let spec = CertificateSpec::base(&base());
    let mut other = certificate(&spec, 1);
    other.issuer = "https://ca.example/dir".into();
    assert_eq!(plan_for(&[], &[other]).issue, std::slice::from_ref(&spec));
    let mut fewer = certificate(&spec, 1);
    fewer.names.pop();
    assert_eq!(plan_for(&[], &[fewer]).issue, [spec]);
}

#[test]
fn unneeded_certificates_are_dropped() {
    let shop = CertificateSpec::host(&host("shop.example"), &base()).unwrap();
    let all = [certificate(&CertificateSpec::base(&base()), 1), certificate(&shop, 1)];
    assert_eq!(plan_for(&["shop.example"], &all).drop, []);
    let plan = plan_for(&[], &all);
    assert_eq!((plan.issue.len(), plan.drop), (0, vec![shop.id]));
}

#[test]
fn an_unneeded_acme_certificate_is_kept_until_its_renewal_is_due() {
    let shop = CertificateSpec::host(&host("shop.example"), &base()).unwrap();
    let issuers = ["internal".to_owned()];
    let dropped = |age_days| {
        let certificates = [certificate(&shop, age_days)];
        let inventory = Inventory {
            certificates: &certificates,
            issuers: &issuers,
            is_acme: true,
            ..Inventory::default()
        };
        plan(NOW, &base(), [], inventory).drop
    };
    assert_eq!(dropped(59), []);
    assert_eq!(dropped(60), [shop.id]);
}

#[test]
fn failures_back_off_and_the_ca_may_extend_the_delay() {
    let minutes = |failures| (retry_at(NOW, failures, None) - NOW).whole_minutes();
    assert_eq!([1, 2, 3, 4, 5, 400].map(minutes), [1, 10, 100, 1440, 1440, 1440]);
    let hour = NOW + Duration::hours(1);
    assert_eq!(retry_at(NOW, 1, Some(hour)), hour);
    assert_eq!(retry_at(NOW, 4, Some(hour)), NOW + Duration::days(1));
    assert_eq!(retry_at(NOW, 1, Some(NOW + Duration::days(9999))), NOW + Duration::days(7));
}

#[test]
fn each_failure_moves_on_to_the_next_ca() {
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
        let current = certificate_with_lifetime(&spec, Duration::hours(age), Duration::hours(life));
        let current = holds.then_some(current);
        let issuers = ["internal".to_owned()];
        let inventory = Inventory { issuers: &issuers, is_acme: ask, ..Inventory::default() };
        let action = decide(NOW, &spec, current.as_ref(), Some(&state), inventory);
        let held_back = state.last_error.is_some() && state.next_attempt.is_some_and(|at| at > NOW);
        match action {
            CertificateAction::Issue => prop_assert!(!holds && (state.renew_requested || !held_back)),
            CertificateAction::Renew => prop_assert!(holds && (state.renew_requested || !held_back)),
            CertificateAction::QueryRenewalInfo => prop_assert!(ask && holds && !state.renew_requested),
            CertificateAction::Wait(until) => {
                prop_assert!(until > NOW && !state.renew_requested);
                // No certificate expires while the decision is to wait, unless failures hold the renewal back.
                if let Some(current) = &current {
                    prop_assert!(held_back || until < current.not_after);
                } else {
                    prop_assert!(held_back);
                }
                // At the end of the wait, an action is due.
                let then = decide(until, &spec, current.as_ref(), Some(&state), inventory);
                prop_assert!(!matches!(then, CertificateAction::Wait(again) if again <= until), "{then:?}");
            }
        }
    }
}

#[test]
fn ten_thousand_certificates_are_planned_in_milliseconds() {
    let hosts: Vec<Host> = (0..10_000).map(|i| host(&format!("h{i}.shop.example"))).collect();
    let specs: Vec<CertificateSpec> =
        hosts.iter().filter_map(|host| CertificateSpec::host(host, &base())).collect();
    let certificates: Vec<CertificateInfo> =
        specs.iter().zip(0..).map(|(w, i)| certificate(w, i % 59)).collect();
    let states: Vec<IssuanceState> = specs.iter().map(|w| IssuanceState::new(w.id.clone())).collect();
    let issuers = ["internal".to_owned()];
    let inventory =
        Inventory { certificates: &certificates, issuance: &states, issuers: &issuers, is_acme: false };
    let fastest = (0..5)
        .map(|_| {
            let (hosts, started) = (hosts.clone(), Instant::now());
            assert_eq!(plan(NOW, &base(), hosts, inventory).issue.len(), 1);
            started.elapsed()
        })
        .min();
    println!("10,000 certificates planned in {fastest:?}");
    // Measured without optimisation. An optimised build takes a few milliseconds.
    assert!(
        fastest.unwrap() < StdDuration::from_millis(if cfg!(debug_assertions) { 250 } else { 50 }),
        "{fastest:?}"
    );
}
