//! Tests of the check schedule.

use webgateway_proto::model::{Backends, Destination, HealthCheck, Mode, Prefixes, RouteOptions};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn route(id: u16, backends: &[&str], path: Option<&str>) -> FeedRoute {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&id.to_be_bytes());
    let backends = Backends::parse(backends, &Prefixes::default()).unwrap();
    let health = Some(HealthCheck::new(path, Duration::from_secs(10), 2, 3).unwrap());
    let options = RouteOptions { health, ..RouteOptions::default() };
    FeedRoute {
        id: RouteId::from_bytes(bytes),
        host: Host::parse(&format!("h{id}.gw.example")).unwrap(),
        destination: Destination::new(Mode::Terminate, backends, options).unwrap(),
    }
}

fn backend(text: &str) -> Backend {
    text.parse().unwrap()
}

fn bad() -> Result<(), String> {
    Err("refused".to_owned())
}

#[test]
fn a_backend_is_unhealthy_after_fall_failures_and_healthy_after_rise_successes() {
    let (mut list, mut now) = (CheckSchedule::default(), Instant::now());
    let app = route(1, &["[400::1]:80"], Some("/up"));
    list.add_route(&app, now, || 0.5);
    assert_eq!(list.next_due(), Some(now + Duration::from_secs(5)));
    assert_eq!(list.pop_due(now), None, "not yet");
    let mut outcome = |good: bool| {
        now = list.next_due().unwrap();
        let due = list.pop_due(now).unwrap();
        assert_eq!(due.host.as_ref().map(Host::as_str), Some("h1.gw.example"));
        assert_eq!(list.next_due(), None, "one check of a kind at a time");
        let transition = list.record_outcome(&due, if good { Ok(()) } else { bad() }, now, 0.5);
        (
            transition.map(|transition| transition.reason.is_some()),
            list.unhealthy().contains(due.target.backend, &app),
        )
    };
    assert_eq!([outcome(false), outcome(false), outcome(true)], [(None, false); 3]);
    assert_eq!(
        [outcome(false), outcome(false), outcome(false)],
        [(None, false), (None, false), (Some(true), true)]
    );
    assert_eq!([outcome(true), outcome(false), outcome(true)], [(None, true); 3]);
    assert_eq!(outcome(true), (Some(false), false));
}

#[test]
fn routes_share_a_check_until_the_last_of_them_is_removed() {
    let (mut list, now) = (CheckSchedule::default(), Instant::now());
    let all: Vec<FeedRoute> = (0..1000).map(|n| route(n, &["[400::1]:80"], Some("/up"))).collect();
    all.iter().for_each(|app| list.add_route(app, now, || 0.0));
    assert_eq!((list.checks.len(), list.due.len()), (1, 1));
    list.add_route(&route(5000, &["[400::1]:80"], None), now, || 0.0);
    assert_eq!(list.checks.len(), 2, "another check of the same backend");
    list.remove_route(&route(5000, &["[400::1]:80"], None), None);
    let due = list.pop_due(now).unwrap();
    all.iter().for_each(|app| assert!(!list.remove_route(app, None), "none was unhealthy"));
    assert!(list.checks.is_empty() && list.due.is_empty());
    assert_eq!(list.record_outcome(&due, bad(), now, 0.5), None, "the check is removed");
    list.add_route(&all[0], now, || 0.0);
    assert_eq!(list.record_outcome(&due, bad(), now, 0.5), None, "an outcome of a removed check is ignored");
    assert_eq!(list.due.len(), 1);
}

#[test]
fn a_changed_route_keeps_the_health_of_its_remaining_backends() {
    let (mut list, now) = (CheckSchedule::default(), Instant::now());
    let before = route(1, &["[400::1]:80", "[400::2]:80"], None);
    let after = route(1, &["[400::2]:80", "[400::3]:80"], None);
    list.add_route(&before, now, || 0.0);
    for _ in 0..6 {
        let at = list.next_due().unwrap();
        let due = list.pop_due(at).unwrap();
        list.record_outcome(&due, bad(), at, 0.5);
    }
    assert_eq!(list.unhealthy().len(), 2);
    list.add_route(&after, now, || 0.0);
    assert!(list.remove_route(&before, Some(&after)), "the first was unhealthy, and is not checked any more");
    let out: Vec<String> = list.unhealthy().iter().map(|(backend, _)| backend.to_string()).collect();
    assert_eq!((out, list.checks.len()), (vec!["[400::2]:80".to_owned()], 2));
}

#[test]
fn the_first_checks_of_many_are_spread() {
    let (mut list, now) = (CheckSchedule::default(), Instant::now());
    for n in 0..10_000u16 {
        let address = format!("[400::{n:x}:1]:80");
        list.add_route(&route(n, &[&*address], None), now, || f64::from(n) / 10_000.0);
    }
    let at_once = std::iter::from_fn(|| list.pop_due(now + Duration::from_secs(1))).count();
    assert!((990..=1010).contains(&at_once), "{at_once} of 10,000 in the first of ten seconds");
}

#[test]
fn one_passive_failure_makes_a_backend_unhealthy_and_one_success_healthy() {
    let (mut list, now) = (CheckSchedule::default(), Instant::now());
    let one = backend("[400::1]:80");
    assert!(
        list.record_failure(one, None, "refused", now)
            .is_some_and(|transition| transition.reason.as_deref() == Some("refused"))
    );
    assert_eq!(list.record_failure(one, None, "refused", now), None, "reported once");
    assert!(list.unhealthy().contains_passive(one, None));
    let at = list.next_due().unwrap();
    let due = list.pop_due(at).unwrap();
    assert_eq!(list.record_outcome(&due, bad(), at, 0.5), None);
    let at = list.next_due().unwrap();
    let due = list.pop_due(at).unwrap();
    assert_eq!(list.record_outcome(&due, Ok(()), at, 0.5), Some(Transition { backend: one, reason: None }));
    assert!(list.unhealthy().iter().next().is_none() && list.checks.is_empty() && list.passive_count == 0);
    list.record_failure(one, None, "refused", now);
    assert!(list.record_success(one, None).is_some() && list.record_success(one, None).is_none());
    assert!(list.due.is_empty());
}

#[test]
fn passive_checks_expire_and_their_number_is_bounded() {
    let (mut list, now) = (CheckSchedule::default(), Instant::now());
    for n in 0..MAX_PASSIVE + 5 {
        list.record_failure(backend(&format!("[400::{n:x}]:80")), None, "refused", now);
    }
    assert_eq!((list.passive_count, list.unhealthy().len()), (MAX_PASSIVE, MAX_PASSIVE));
    while let Some(due) = list.pop_due(now + HOUR) {
        list.record_outcome(&due, bad(), now + HOUR, 0.5);
    }
    assert!(list.checks.is_empty() && list.unhealthy().iter().next().is_none());
}
