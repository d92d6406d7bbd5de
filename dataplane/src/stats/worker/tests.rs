//! Collections of a worker, and the lines of followed routes.

use std::net::{IpAddr, Ipv4Addr};

use http::{Method, StatusCode};
use prometheus_client::metrics::counter::Counter;

use super::super::channels::COLLECTIONS;
use super::super::record::{RequestHead, TrafficRecord};
use super::super::reporter::traffic_reporter;
use super::*;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

fn route(n: u8) -> RouteId {
    RouteId::from_bytes([n; 16])
}

fn head() -> RequestHead {
    let path = "/a".to_owned();
    RequestHead {
        client: CLIENT,
        host: "a.example".into(),
        method: Some(Method::GET),
        path,
        request_id: None,
    }
}

fn request(stats: &Rc<WorkerStats>, n: u8) -> TrafficRecord {
    let mut record = TrafficRecord::request();
    record.set_route(stats, route(n), head);
    record
}

#[test]
fn a_collection_has_the_changes_since_the_last_one() {
    let (mut reporter, channels) = traffic_reporter(Counter::default());
    let stats = Rc::new(WorkerStats::new(channels));
    let connections = Rc::new(Connections::default());
    let open = connections.enter(Some(route(1)));
    let answered = request(&stats, 1);
    answered.answer(StatusCode::OK);
    answered.add_sent(5);
    answered.fail("http_response_incomplete");
    drop(request(&stats, 1));
    let tunnel = TrafficRecord::connection(&stats, route(2), CLIENT);
    tunnel.add_received(7);
    stats.count_refused_connection(route(2), "http_request_denied");
    stats.collect(&connections);
    let mut take = || {
        let mut collected = reporter.collected.try_recv().unwrap();
        collected.sort_by_key(|collected| collected.route);
        collected
    };
    let first = take();
    assert_eq!(first.iter().map(|c| (c.route, c.opened)).collect::<Vec<_>>(), [(route(1), 1), (route(2), 0)]);
    assert_eq!((first[0].traffic.responses[1], first[0].traffic.cancelled, first[0].traffic.sent), (1, 1, 5));
    assert_eq!(first[0].traffic.errors["http_response_incomplete"], 1);
    assert_eq!((first[1].traffic.connections, first[1].traffic.received), (2, 7));
    assert_eq!(first[1].traffic.requests(), 0, "a tunnel is not a cancelled request");

    drop(open);
    answered.add_sent(1);
    stats.collect(&connections);
    let second = take();
    assert_eq!((second.len(), second[0].opened, second[0].traffic.sent), (1, -1, 1));
    drop((answered, tunnel));
    stats.collect(&connections);
    assert!(reporter.collected.try_recv().is_err(), "nothing has changed");
    assert!(stats.cells.borrow().is_empty(), "idle routes are forgotten");
}

#[test]
fn counts_wait_while_the_reporter_is_behind() {
    let (mut reporter, channels) = traffic_reporter(Counter::default());
    let stats = Rc::new(WorkerStats::new(channels));
    let connections = Rc::new(Connections::default());
    for _ in 0..COLLECTIONS + 3 {
        request(&stats, 1).answer(StatusCode::OK);
        stats.collect(&connections);
    }
    let mut requests = 0;
    while let Ok(collected) = reporter.collected.try_recv() {
        requests += collected.iter().map(|c| c.traffic.requests()).sum::<u64>();
    }
    stats.collect(&connections);
    requests += reporter.collected.try_recv().unwrap().iter().map(|c| c.traffic.requests()).sum::<u64>();
    assert_eq!(requests, COLLECTIONS as u64 + 3, "each is counted once");
}

#[test]
fn only_lines_of_followed_routes_are_sent_and_they_are_bounded() {
    let (mut reporter, channels) = traffic_reporter(Counter::default());
    let stats = Rc::new(WorkerStats::new(channels));
    let early = request(&stats, 1);
    reporter.follow(vec![route(1)]);
    stats.tick();
    drop(early);
    for n in [1, 2].repeat(200) {
        request(&stats, n).answer(StatusCode::NO_CONTENT);
    }
    stats.tick();
    let sent = reporter.lines.try_recv().unwrap();
    assert!((50..=MAX_LINES).contains(&sent.lines.len()), "{} lines", sent.lines.len());
    assert_eq!((sent.route, sent.lines.len() as u64 + sent.left_out), (route(1), 200));
    let line = &sent.lines[0];
    assert_eq!((line.client, line.method.as_str(), line.path.as_str()), (CLIENT, "GET", "/a"));
    assert_eq!((line.status, line.error.as_deref()), (Some(204), None));
    assert!(reporter.lines.try_recv().is_err());

    drop(TrafficRecord::connection(&stats, route(1), CLIENT));
    reporter.disconnected();
    stats.tick();
    drop(request(&stats, 1));
    stats.tick();
    assert!(reporter.lines.try_recv().is_err(), "nobody follows any more");
    assert!(stats.lines.borrow().is_empty());
}

#[test]
fn requests_of_too_many_routes_are_not_attributed() {
    let (mut reporter, channels) = traffic_reporter(Counter::default());
    let unattributed = channels.unattributed.clone();
    let stats = Rc::new(WorkerStats::new(channels));
    for n in 0..MAX_ROUTES as u128 + 5 {
        let mut record = TrafficRecord::request();
        record.set_route(&stats, RouteId::from_bytes(n.to_be_bytes()), head);
        record.answer(StatusCode::OK);
    }
    assert_eq!(unattributed.get(), 5);
    stats.collect(&Rc::new(Connections::default()));
    assert_eq!(reporter.collected.try_recv().unwrap().len(), MAX_ROUTES);
}
