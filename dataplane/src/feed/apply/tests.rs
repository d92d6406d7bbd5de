//! Tests of batches: they apply as a whole, rejections name the resource, and its last good version stays.

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

fn closed(id: u8, at_once: bool) -> ClosedRoute {
    ClosedRoute { route: RouteId::from_bytes([id; 16]), at_once }
}

fn held(version: u64) -> FeedVersion {
    FeedVersion { epoch: "e".into(), version }
}

fn run(current: &Snapshot, full: bool, messages: Vec<ToNode>, version: u64) -> ApplyOutcome {
    let mut builder = BatchBuilder::default();
    assert!(builder.push(ToNode::Begin { full }, current).is_none());
    for message in messages {
        assert!(builder.push(message, current).is_none());
    }
    let batch = builder.push(ToNode::End(held(version)), current).unwrap();
    let tickets = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    apply(current, batch, &tickets, NOW)
}

fn bad_certificate() -> Resource {
    let id = CertificateId::parse("h1.gw.example").unwrap();
    let names = vec!["h1.gw.example".parse().unwrap()];
    Resource::Certificate(Certificate { id, names, chain: vec![vec![1]], key: vec![2].into() })
}

#[test]
fn a_full_batch_removes_the_resources_that_it_does_not_list() {
    let first =
        run(&Snapshot::default(), true, vec![put(settings("gw.example")), put(route(1)), put(route(2))], 5);
    assert_eq!(first.snapshot.held, Some(held(5)));
    let second =
        run(&first.snapshot, true, vec![put(settings("gw.example")), put(route(2)), put(route(3))], 6);
    assert!(second.snapshot.routes.lookup("h1.gw.example").is_none());
    assert!(second.snapshot.routes.lookup("h3.gw.example").is_some());
    assert_eq!(second.closed_routes, [closed(1, false)]);
    assert_eq!(first.snapshot.routes.len(), 2, "the old snapshot is unchanged");
}

#[test]
fn a_full_batch_reuses_the_routes_that_are_unchanged() {
    let messages = || vec![put(settings("gw.example")), put(route(1)), put(route(2))];
    let first = run(&Snapshot::default(), true, messages(), 5);
    let mut moved = route(2);
    if let Resource::Route(route) = &mut moved {
        route.destination.mode = Mode::Passthrough;
    }
    let second = run(&first.snapshot, true, vec![put(settings("gw.example")), put(route(1)), put(moved)], 6);
    let held = |applied: &ApplyOutcome, host: &str| Arc::clone(applied.snapshot.routes.lookup(host).unwrap());
    assert!(Arc::ptr_eq(&held(&first, "h1.gw.example"), &held(&second, "h1.gw.example")));
    assert_eq!(held(&second, "h2.gw.example").destination.mode, Mode::Passthrough);
    assert!(second.closed_routes.is_empty());
}

#[test]
fn a_full_batch_tells_which_removed_routes_are_cut_at_once() {
    let first = run(&Snapshot::default(), true, vec![put(route(1)), put(route(2)), put(route(3))], 5);
    let second = run(&first.snapshot, true, vec![put(route(3)), remove(2, true), remove(4, true)], 6);
    let mut all = second.closed_routes;
    all.sort_by_key(|closed| closed.route);
    assert_eq!(all, [closed(1, false), closed(2, true)]);
    assert_eq!(second.snapshot.routes.len(), 1);
    // A route that is listed stays, even if the same batch has a removal of it.
    let third = run(&first.snapshot, true, vec![remove(1, true), put(route(1))], 6);
    assert!(third.snapshot.routes.lookup("h1.gw.example").is_some());
}

#[test]
fn a_removal_tells_how_the_connections_of_its_route_end() {
    let first = run(&Snapshot::default(), true, vec![put(route(1)), put(route(2))], 1);
    let second = run(&first.snapshot, false, vec![remove(1, true), remove(2, false), remove(3, true)], 2);
    assert_eq!(second.closed_routes, [closed(1, true), closed(2, false)]);
    assert!(second.snapshot.routes.len() == 0);
}

#[test]
fn a_version_with_a_rejected_resource_is_not_held() {
    let first = run(&Snapshot::default(), true, vec![put(route(1))], 1);
    let second = run(&first.snapshot, false, vec![put(bad_certificate()), put(route(2))], 2);
    assert_eq!(second.rejections.len(), 1);
    assert_eq!(second.rejections[0].resource, "certificate/h1.gw.example");
    assert_eq!(second.version, 2);
    assert_eq!(second.snapshot.held, Some(held(1)), "not held");
    assert!(second.snapshot.routes.lookup("h2.gw.example").is_some(), "the rest is applied");
    let third = run(&second.snapshot, false, vec![put(route(3))], 3);
    assert_eq!(third.snapshot.held, Some(held(1)), "still not held");
    let gone = ResourceName::Certificate(CertificateId::parse("h1.gw.example").unwrap());
    let fourth = run(&third.snapshot, false, vec![ToNode::Remove { name: gone, at_once: false }], 4);
    assert_eq!(fourth.snapshot.held, Some(held(4)));
}

/// The clock may be wrong when the certificate arrives and corrected later.
#[test]
fn a_certificate_is_accepted_whether_it_is_valid_now_or_not() {
    let certificate =
        |name, from, to| put(Resource::Certificate(crate::snapshot::tests::certificate(&[name], from, to)));
    let messages = vec![
        put(settings("gw.example")),
        certificate("early.example", NOW + 1, NOW + 9),
        certificate("late.example", 0, 9),
    ];
    let applied = run(&Snapshot::default(), true, messages, 1);
    assert_eq!((applied.snapshot.held, applied.rejections), (Some(held(1)), Vec::new()));
    assert_eq!(applied.not_yet_valid, [CertificateId::parse("early.example").unwrap()]);
    let served = |host, now| applied.snapshot.certs.lookup(host, now).is_some();
    assert_eq!((served("early.example", NOW), served("early.example", NOW + 1)), (false, true));
    assert!(served("late.example", NOW), "an expired certificate is better than none");
}

#[test]
fn a_route_that_cannot_be_read_keeps_its_last_good_version_even_in_a_full_batch() {
    let first = run(&Snapshot::default(), true, vec![put(route(1))], 1);
    let name = route(1).name().to_string();
    let unusable = ToNode::Unusable(name.clone(), InvalidMessageError::RouteId(3));
    let second = run(&first.snapshot, true, vec![unusable], 2);
    assert!(second.snapshot.routes.lookup("h1.gw.example").is_some());
    assert_eq!(second.rejections[0].resource, name);
    assert!(second.closed_routes.is_empty());
}

#[test]
fn a_version_of_another_epoch_is_not_held_while_a_resource_is_rejected() {
    let first = run(&Snapshot::default(), true, vec![put(route(1))], 9);
    let mut builder = BatchBuilder::default();
    builder.push(ToNode::Begin { full: true }, &Snapshot::default());
    builder.push(put(bad_certificate()), &first.snapshot);
    let batch = builder
        .push(ToNode::End(FeedVersion { epoch: "other".into(), version: 2 }), &first.snapshot)
        .unwrap();
    let tickets = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    assert_eq!(apply(&first.snapshot, batch, &tickets, NOW).snapshot.held, None);
}

#[test]
fn messages_outside_a_batch_are_ignored() {
    let mut builder = BatchBuilder::default();
    assert!(builder.push(put(route(1)), &Snapshot::default()).is_none());
    assert!(builder.push(ToNode::End(held(1)), &Snapshot::default()).is_none());
    builder.push(ToNode::Begin { full: false }, &Snapshot::default());
    builder.push(put(route(1)), &Snapshot::default());
    builder.push(ToNode::Begin { full: false }, &Snapshot::default());
    let batch = builder.push(ToNode::End(held(1)), &Snapshot::default()).unwrap();
    assert!(batch.batch.changes.is_empty(), "a second Begin starts a new batch");
}

#[test]
fn the_allowed_backends_of_the_current_batch_take_precedence() {
    let wide = Prefixes::new(vec!["::/0".parse().unwrap()]);
    let mut builder = BatchBuilder::default();
    builder.push(ToNode::Begin { full: true }, &Snapshot::default());
    assert_eq!(builder.allowed_backends(&Snapshot::default()), Prefixes::default());
    let base_domain = Host::parse("gw.example").unwrap();
    builder.push(
        put(Resource::Settings(Settings { base_domain, allowed_backends: wide.clone(), listeners: vec![] })),
        &Snapshot::default(),
    );
    assert_eq!(builder.allowed_backends(&Snapshot::default()), wide);
}

proptest! {
    /// The same changes result in the same snapshot, no matter how they are split into batches.
    #[test]
    fn the_split_into_batches_does_not_matter(steps in proptest::collection::vec((0u8..5, any::<bool>()), 0..30), cut in 1usize..10) {
        let message = |(id, keep): &(u8, bool)| if *keep { put(route(*id)) } else { remove(*id, false) };
        let whole = run(&Snapshot::default(), false, steps.iter().map(message).collect(), 1).snapshot;
        let mut split = Snapshot::default();
        for chunk in steps.chunks(cut) {
            split = run(&split, false, chunk.iter().map(message).collect(), 1).snapshot;
        }
        let names = |snapshot: &Snapshot| snapshot.names().collect::<std::collections::BTreeSet<_>>();
        prop_assert_eq!(names(&whole), names(&split));
    }
}
