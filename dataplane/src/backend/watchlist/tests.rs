//! The watchlist, step by step.

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
fn fall_takes_it_out_and_rise_brings_it_back() {
    let (mut list, mut now) = (Watchlist::default(), Instant::now());
    let app = route(1, &["[400::1]:80"], Some("/up"));
    let check = app.destination.options.health.as_ref();
    list.add(&app, now, || 0.5);
    assert_eq!(list.next(), Some(now + Duration::from_secs(5)));
    assert_eq!(list.due(now), None, "not yet");
    let mut outcome = |good: bool| {
        now = list.next().unwrap();
        let due = list.due(now).unwrap();
        assert_eq!(due.host.as_ref().map(Host::as_str), Some("h1.gw.example"));
        assert_eq!(list.next(), None, "one check of a kind at a time");
        let turned = list.checked(&due, if good { Ok(()) } else { bad() }, now, 0.5);
        (turned.map(|turned| turned.down.is_some()), list.down().is_out(due.subject.backend, check))
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
fn many_routes_share_one_check_that_ends_with_the_last_of_them() {
    let (mut list, now) = (Watchlist::default(), Instant::now());
    let all: Vec<FeedRoute> = (0..1000).map(|n| route(n, &["[400::1]:80"], Some("/up"))).collect();
    all.iter().for_each(|app| list.add(app, now, || 0.0));
    assert_eq!((list.watched.len(), list.due.len()), (1, 1));
    list.add(&route(5000, &["[400::1]:80"], None), now, || 0.0);
    assert_eq!(list.watched.len(), 2, "another check of the same backend");
    list.remove(&route(5000, &["[400::1]:80"], None), None);
    let due = list.due(now).unwrap();
    all.iter().for_each(|app| assert!(!list.remove(app, None), "none was out"));
    assert!(list.watched.is_empty() && list.due.is_empty());
    assert_eq!(list.checked(&due, bad(), now, 0.5), None, "nobody asks any more");
    list.add(&all[0], now, || 0.0);
    assert_eq!(list.checked(&due, bad(), now, 0.5), None, "an outcome of before is not of now");
    assert_eq!(list.due.len(), 1);
}

#[test]
fn a_route_that_changes_keeps_the_judgement_of_what_it_keeps() {
    let (mut list, now) = (Watchlist::default(), Instant::now());
    let before = route(1, &["[400::1]:80", "[400::2]:80"], None);
    let after = route(1, &["[400::2]:80", "[400::3]:80"], None);
    list.add(&before, now, || 0.0);
    for _ in 0..6 {
        let at = list.next().unwrap();
        let due = list.due(at).unwrap();
        list.checked(&due, bad(), at, 0.5);
    }
    assert_eq!(list.down().len(), 2);
    list.add(&after, now, || 0.0);
    assert!(list.remove(&before, Some(&after)), "the first was out, and is looked at no more");
    let out: Vec<String> = list.down().iter().map(|(backend, _)| backend.to_string()).collect();
    assert_eq!((out, list.watched.len()), (vec!["[400::2]:80".to_owned()], 2));
}

#[test]
fn the_first_checks_of_many_are_spread() {
    let (mut list, now) = (Watchlist::default(), Instant::now());
    for n in 0..10_000u16 {
        let address = format!("[400::{n:x}:1]:80");
        list.add(&route(n, &[&*address], None), now, || f64::from(n) / 10_000.0);
    }
    let at_once = std::iter::from_fn(|| list.due(now + Duration::from_secs(1))).count();
    assert!((990..=1010).contains(&at_once), "{at_once} of 10,000 in the first of ten seconds");
}

#[test]
fn the_traffic_takes_a_backend_out_at_once_and_one_good_look_brings_it_back() {
    let (mut list, now) = (Watchlist::default(), Instant::now());
    let one = backend("[400::1]:80");
    assert!(list.failed(one, "refused", now).is_some_and(|turned| turned.down.as_deref() == Some("refused")));
    assert_eq!(list.failed(one, "refused", now), None, "said once");
    assert!(list.down().is_out(one, None));
    let at = list.next().unwrap();
    let due = list.due(at).unwrap();
    assert_eq!(list.checked(&due, bad(), at, 0.5), None);
    let at = list.next().unwrap();
    let due = list.due(at).unwrap();
    assert_eq!(list.checked(&due, Ok(()), at, 0.5), Some(Turned { backend: one, down: None }));
    assert!(list.down().iter().next().is_none() && list.watched.is_empty() && list.by_traffic == 0);
    list.failed(one, "refused", now);
    assert!(list.reached(one).is_some() && list.reached(one).is_none());
    assert!(list.due.is_empty());
}

#[test]
fn what_nobody_asks_for_is_forgotten_and_their_number_is_bounded() {
    let (mut list, now) = (Watchlist::default(), Instant::now());
    for n in 0..MAX_BY_TRAFFIC + 5 {
        list.failed(backend(&format!("[400::{n:x}]:80")), "refused", now);
    }
    assert_eq!((list.by_traffic, list.down().len()), (MAX_BY_TRAFFIC, MAX_BY_TRAFFIC));
    while let Some(due) = list.due(now + HOUR) {
        list.checked(&due, bad(), now + HOUR, 0.5);
    }
    assert!(list.watched.is_empty() && list.down().iter().next().is_none());
}
