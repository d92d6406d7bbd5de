//! Batches whole, rejects by name, the last good one kept.

use proptest::prelude::*;
use webgateway_proto::feed::{FeedRoute, InvalidMessageError, Settings};
use webgateway_proto::model::{Backends, Certificate, Host, Mode};

use super::*;

const NOW: i64 = 150;

fn route(id: u8) -> Resource {
    Resource::Route(FeedRoute {
        id: RouteId::from_bytes([id; 16]),
        host: Host::parse(&format!("h{id}.gw.example")).unwrap(),
        destination: Backends::parse(&["[400::1]:80"], &Prefixes::default()).unwrap().into(),
    })
}

fn settings(base: &str) -> Resource {
    let base_domain = Host::parse(base).unwrap();
    Resource::Settings(Settings { base_domain, allowed_backends: Prefixes::default(), listeners: vec![] })
}

fn put(resource: Resource) -> ToNode {
    ToNode::Put(Box::new(resource))
}

fn remove(id: u8, at_once: bool) -> ToNode {
    ToNode::Remove { name: ResourceName::Route(RouteId::from_bytes([id; 16])), at_once }
}

fn closed(id: u8, at_once: bool) -> RouteClosed {
    RouteClosed { route: RouteId::from_bytes([id; 16]), at_once }
}

fn held(version: u64) -> FeedVersion {
    FeedVersion { epoch: "e".into(), version }
}

fn run(current: &Snapshot, full: bool, messages: Vec<ToNode>, version: u64) -> Applied {
    let mut collector = Collector::default();
    assert!(collector.take(ToNode::Begin { full }, current).is_none());
    for message in messages {
        assert!(collector.take(message, current).is_none());
    }
    let complete = collector.take(ToNode::End(held(version)), current).unwrap();
    let tickets = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    apply(current, complete, &tickets, NOW)
}

fn bad_certificate() -> Resource {
    let id = CertificateId::parse("h1.gw.example").unwrap();
    let names = vec!["h1.gw.example".parse().unwrap()];
    Resource::Certificate(Certificate { id, names, chain: vec![vec![1]], key: vec![2].into() })
}

#[test]
fn a_full_batch_drops_what_it_does_not_name() {
    let first =
        run(&Snapshot::default(), true, vec![put(settings("gw.example")), put(route(1)), put(route(2))], 5);
    assert_eq!(first.snapshot.held, Some(held(5)));
    let second =
        run(&first.snapshot, true, vec![put(settings("gw.example")), put(route(2)), put(route(3))], 6);
    assert!(second.snapshot.routes.lookup("h1.gw.example").is_none());
    assert!(second.snapshot.routes.lookup("h3.gw.example").is_some());
    assert_eq!(second.closed, [closed(1, false)]);
    assert_eq!(first.snapshot.routes.len(), 2, "the old snapshot is as it was");
}

#[test]
fn a_full_batch_of_what_is_held_keeps_the_very_routes() {
    let messages = || vec![put(settings("gw.example")), put(route(1)), put(route(2))];
    let first = run(&Snapshot::default(), true, messages(), 5);
    let mut moved = route(2);
    if let Resource::Route(route) = &mut moved {
        route.destination.mode = Mode::Passthrough;
    }
    let second = run(&first.snapshot, true, vec![put(settings("gw.example")), put(route(1)), put(moved)], 6);
    let held = |applied: &Applied, host: &str| Arc::clone(applied.snapshot.routes.lookup(host).unwrap());
    assert!(Arc::ptr_eq(&held(&first, "h1.gw.example"), &held(&second, "h1.gw.example")));
    assert_eq!(held(&second, "h2.gw.example").destination.mode, Mode::Passthrough);
    assert!(second.closed.is_empty());
}

#[test]
fn a_full_batch_says_which_of_the_routes_it_drops_are_cut_at_once() {
    let first = run(&Snapshot::default(), true, vec![put(route(1)), put(route(2)), put(route(3))], 5);
    let second = run(&first.snapshot, true, vec![put(route(3)), remove(2, true), remove(4, true)], 6);
    let mut all = second.closed;
    all.sort_by_key(|closed| closed.route);
    assert_eq!(all, [closed(1, false), closed(2, true)]);
    assert_eq!(second.snapshot.routes.len(), 1);
    // What is named is there, whatever else is said.
    let third = run(&first.snapshot, true, vec![remove(1, true), put(route(1))], 6);
    assert!(third.snapshot.routes.lookup("h1.gw.example").is_some());
}

#[test]
fn a_removal_says_how_its_connections_end() {
    let first = run(&Snapshot::default(), true, vec![put(route(1)), put(route(2))], 1);
    let second = run(&first.snapshot, false, vec![remove(1, true), remove(2, false), remove(3, true)], 2);
    assert_eq!(second.closed, [closed(1, true), closed(2, false)]);
    assert!(second.snapshot.routes.len() == 0);
}

#[test]
fn what_is_rejected_is_named_and_its_version_not_held() {
    let first = run(&Snapshot::default(), true, vec![put(route(1))], 1);
    let second = run(&first.snapshot, false, vec![put(bad_certificate()), put(route(2))], 2);
    assert_eq!(second.rejects.len(), 1);
    assert_eq!(second.rejects[0].resource, "certificate/h1.gw.example");
    assert_eq!(second.version, 2);
    assert_eq!(second.snapshot.held, Some(held(1)), "not held");
    assert!(second.snapshot.routes.lookup("h2.gw.example").is_some(), "the rest is applied");
    let third = run(&second.snapshot, false, vec![put(route(3))], 3);
    assert_eq!(third.snapshot.held, Some(held(1)), "still not held");
    let gone = ResourceName::Certificate(CertificateId::parse("h1.gw.example").unwrap());
    let fourth = run(&third.snapshot, false, vec![ToNode::Remove { name: gone, at_once: false }], 4);
    assert_eq!(fourth.snapshot.held, Some(held(4)));
}

/// The clock may be wrong now and right later.
#[test]
fn a_certificate_is_taken_at_any_time() {
    let certificate =
        |name, from, to| put(Resource::Certificate(crate::snapshot::tests::certificate(&[name], from, to)));
    let messages = vec![
        put(settings("gw.example")),
        certificate("early.example", NOW + 1, NOW + 9),
        certificate("late.example", 0, 9),
    ];
    let applied = run(&Snapshot::default(), true, messages, 1);
    assert_eq!((applied.snapshot.held, applied.rejects), (Some(held(1)), Vec::new()));
    assert_eq!(applied.not_begun, [CertificateId::parse("early.example").unwrap()]);
    let served = |host, now| applied.snapshot.certs.lookup(host, now).is_some();
    assert_eq!((served("early.example", NOW), served("early.example", NOW + 1)), (false, true));
    assert!(served("late.example", NOW), "an expired one rather than none");
}

#[test]
fn a_route_that_became_unusable_keeps_its_last_good_form_even_in_a_full_sync() {
    let first = run(&Snapshot::default(), true, vec![put(route(1))], 1);
    let name = route(1).name().to_string();
    let unusable = ToNode::Unusable(name.clone(), InvalidMessageError::RouteId(3));
    let second = run(&first.snapshot, true, vec![unusable], 2);
    assert!(second.snapshot.routes.lookup("h1.gw.example").is_some());
    assert_eq!(second.rejects[0].resource, name);
    assert!(second.closed.is_empty());
}

#[test]
fn another_epoch_is_not_held_while_something_is_rejected() {
    let first = run(&Snapshot::default(), true, vec![put(route(1))], 9);
    let mut collector = Collector::default();
    collector.take(ToNode::Begin { full: true }, &Snapshot::default());
    collector.take(put(bad_certificate()), &first.snapshot);
    let complete = collector
        .take(ToNode::End(FeedVersion { epoch: "other".into(), version: 2 }), &first.snapshot)
        .unwrap();
    let tickets = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    assert_eq!(apply(&first.snapshot, complete, &tickets, NOW).snapshot.held, None);
}

#[test]
fn what_stands_outside_a_batch_is_dropped() {
    let mut collector = Collector::default();
    assert!(collector.take(put(route(1)), &Snapshot::default()).is_none());
    assert!(collector.take(ToNode::End(held(1)), &Snapshot::default()).is_none());
    collector.take(ToNode::Begin { full: false }, &Snapshot::default());
    collector.take(put(route(1)), &Snapshot::default());
    collector.take(ToNode::Begin { full: false }, &Snapshot::default());
    let complete = collector.take(ToNode::End(held(1)), &Snapshot::default()).unwrap();
    assert!(complete.batch.changes.is_empty(), "a second Begin begins anew");
}

#[test]
fn prefixes_of_the_batch_at_hand_count() {
    let wide = Prefixes::new(vec!["::/0".parse().unwrap()]);
    let mut collector = Collector::default();
    collector.take(ToNode::Begin { full: true }, &Snapshot::default());
    assert_eq!(collector.allowed_backends(&Snapshot::default()), Prefixes::default());
    let base_domain = Host::parse("gw.example").unwrap();
    collector.take(
        put(Resource::Settings(Settings { base_domain, allowed_backends: wide.clone(), listeners: vec![] })),
        &Snapshot::default(),
    );
    assert_eq!(collector.allowed_backends(&Snapshot::default()), wide);
}

proptest! {
    /// However the same changes are cut into batches, the same snapshot results.
    #[test]
    fn batching_does_not_matter(steps in proptest::collection::vec((0u8..5, any::<bool>()), 0..30), cut in 1usize..10) {
        let message = |(id, keep): &(u8, bool)| if *keep { put(route(*id)) } else { remove(*id, false) };
        let whole = run(&Snapshot::default(), false, steps.iter().map(message).collect(), 1).snapshot;
        let mut cut_up = Snapshot::default();
        for chunk in steps.chunks(cut) {
            cut_up = run(&cut_up, false, chunk.iter().map(message).collect(), 1).snapshot;
        }
        let names = |snapshot: &Snapshot| snapshot.names().collect::<std::collections::BTreeSet<_>>();
        prop_assert_eq!(names(&whole), names(&cut_up));
    }
}
