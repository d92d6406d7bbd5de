//! Reports of several nodes, repeated and too many.

use super::*;

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_900_000_000 + seconds).unwrap()
}

fn route(n: u16) -> RouteId {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&n.to_be_bytes());
    RouteId::from_bytes(id)
}

fn report(sequence: u64, routes: &[(u16, u64, u64)]) -> TrafficReport {
    let one = |(n, open, requests): &(u16, u64, u64)| RouteTraffic {
        route: route(*n),
        open: *open,
        traffic: Traffic { responses: [0, *requests, 0, 0, 0], ..Traffic::default() },
    };
    TrafficReport { instance: 7, sequence, routes: routes.iter().map(one).collect() }
}

fn requests(memory: &TrafficMemory, n: u16, now: i64) -> u64 {
    memory.recent(route(n), at(-7200), at(now)).values().map(|recent| recent.hour.requests()).sum()
}

#[test]
fn a_repeated_report_is_counted_once_and_nodes_add_up() {
    let memory = TrafficMemory::default();
    assert!(memory.apply("n1", &report(1, &[(1, 2, 10)]), at(0)));
    assert!(memory.apply("n1", &report(1, &[(1, 2, 10)]), at(1)), "acknowledged again");
    assert!(memory.apply("n2", &report(1, &[(1, 1, 5), (2, 0, 1)]), at(2)));
    assert!(memory.apply("n1", &report(2, &[(1, 3, 1)]), at(3)));
    assert!(
        memory.apply("n1", &TrafficReport { instance: 8, ..report(2, &[(1, 3, 1)]) }, at(4)),
        "restarted"
    );
    assert_eq!((requests(&memory, 1, 5), requests(&memory, 2, 5)), (17, 1));
    let by_node = memory.recent(route(1), at(-7200), at(5));
    assert_eq!(
        by_node.iter().map(|(node, r)| (node.as_str(), r.open)).collect::<Vec<_>>(),
        [("n1", 3), ("n2", 1)]
    );
    memory.begin_stream("n1");
    assert_eq!(memory.recent(route(1), at(-7200), at(5))["n1"].open, 0);
    for window in [Window::Minute, Window::Hour, Window::Day] {
        assert_eq!(memory.sums(window, at(5))[&route(1)].requests, 17, "{window:?}");
    }
}

#[test]
fn traffic_waits_to_be_stored_and_is_taken_once() {
    let memory = TrafficMemory::default();
    assert!(memory.apply("n1", &report(1, &[(1, 0, 10), (2, 5, 0)]), at(0)));
    assert!(memory.apply("n1", &report(2, &[(1, 0, 1)]), at(3600)));
    let rows = memory.take_unsaved(at(3600));
    let mut hours: Vec<_> = rows.iter().map(|row| (row.hour, row.traffic.requests())).collect();
    hours.sort();
    assert_eq!(hours, [(hour_of(at(0)), 10), (hour_of(at(3600)), 1)]);
    assert!(memory.take_unsaved(at(3600)).is_empty());
    memory.put_back(rows);
    assert_eq!(memory.unsaved(route(1)).len(), 2);
    memory.close();
    assert!(!memory.apply("n1", &report(3, &[(1, 0, 1)]), at(3601)), "the node keeps it");
    assert_eq!(memory.take_unsaved(at(3602)).iter().map(|row| row.traffic.requests()).sum::<u64>(), 11);
}

#[test]
fn the_memory_is_bounded_and_idle_routes_make_room() {
    let memory = TrafficMemory::default();
    let many = u16::try_from(MAX_SERIES).unwrap();
    let routes: Vec<_> = (0..many + 5).map(|n| (n, 0, 1)).collect();
    assert!(memory.apply("n1", &report(1, &routes), at(0)));
    assert_eq!(memory.state().count, MAX_SERIES);
    assert_eq!(requests(&memory, many, 1), 0);
    assert!(memory.apply("n1", &report(2, &[(many, 0, 1)]), at(4000)));
    assert_eq!(requests(&memory, many, 4000), 1, "the others are idle");
    assert_eq!(memory.state().count, 1);
}
