//! Followers that come, read, and vanish.

use super::*;

const START: u64 = 1_900_000_000_000_000;

fn route(n: u16) -> RouteId {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&n.to_be_bytes());
    RouteId::from_bytes(id)
}

fn key(n: usize) -> KeyId {
    format!("user{n}.pub").parse().unwrap()
}

fn lines(n: u16, count: usize, left_out: u64) -> AccessLines {
    let line = |at| AccessLine {
        at,
        client: "192.0.2.7".parse().unwrap(),
        method: "GET".into(),
        path: "/".into(),
        status: Some(200),
        error: None,
        received: 0,
        sent: 0,
        took: 1,
        request_id: None,
    };
    AccessLines { route: route(n), lines: (0..count as i64).map(line).collect(), left_out }
}

#[tokio::test]
async fn nodes_send_lines_only_while_somebody_follows() {
    let followers = Followers::default();
    let mut node = followers.subscribe();
    assert_eq!(node.pending(), None, "a node knows that nobody follows");
    assert!(followers.follow(route(1), &key(1), START));
    let message = node.pending().unwrap();
    assert_eq!(message, ToNode::Follow(vec![route(1)]));
    assert_eq!(node.pending(), Some(message.clone()), "until it was sent");
    node.mark_sent(message);
    assert_eq!(node.pending(), None);
    let later = START + FOLLOW_TIMEOUT / 2;
    assert!(followers.follow(route(1), &key(2), later));
    assert!(followers.follow(route(2), &key(2), later));
    followers.expire(START + FOLLOW_TIMEOUT);
    node.changed().await;
    assert_eq!(node.pending(), Some(ToNode::Follow(vec![route(1), route(2)])), "somebody is left");
    followers.expire(later + FOLLOW_TIMEOUT);
    let message = node.pending().unwrap();
    assert_eq!(message, ToNode::Follow(vec![]));
    followers.push("n1", lines(1, 3, 0));
    assert!(followers.routes().is_empty(), "nothing is kept");
}

#[tokio::test]
async fn a_reader_gets_each_line_once_and_learns_what_is_lost() {
    let followers = Followers::default();
    assert!(followers.follow(route(1), &key(1), START));
    followers.push("n1", lines(1, 2, 0));
    let LogEntries { entries, cursor, .. } = followers.read(route(1), None);
    assert!(entries.is_empty(), "from now on");
    followers.push("n1", lines(1, 3, 7));
    let read = followers.read(route(1), Some(cursor));
    assert_eq!((read.entries.len(), read.lost, read.cursor), (4, 0, cursor + 4));
    assert_eq!(read.entries[3], LogEntry::LeftOut(7));
    assert!(followers.read(route(1), Some(read.cursor)).entries.is_empty());
    followers.push("n1", lines(1, MAX_LINES + 5, 0));
    let read = followers.read(route(1), Some(read.cursor));
    assert_eq!((read.entries.len(), read.lost), (MAX_LINES, 5));
    for foreign in [0, START - 1, u64::MAX] {
        let read = followers.read(route(1), Some(foreign));
        assert_eq!((read.entries.len(), read.lost), (MAX_LINES, 0), "the cursor of another log");
    }
    let cursor = read.cursor;
    let wait = followers.wait(route(1), cursor);
    let push = async {
        tokio::task::yield_now().await;
        followers.push("n1", lines(2, 1, 0));
        followers.push("n1", lines(1, 1, 0));
    };
    tokio::join!(wait, push);
    assert_eq!(followers.read(route(1), Some(cursor)).entries.len(), 1);
}

#[tokio::test]
async fn the_followed_routes_are_bounded() {
    let followers = Followers::default();
    let mut routes = (0..).map(route);
    let mut followed = 0;
    for caller in 0..20 {
        let accepted = (&mut routes).take(20).filter(|id| followers.follow(*id, &key(caller), START)).count();
        assert!(accepted <= MAX_ROUTES_PER_CALLER);
        followed += accepted;
    }
    assert_eq!(followed, MAX_FOLLOWED_ROUTES);
    assert!(followers.follow(route(0), &key(99), START), "a route that is followed already");
    assert!(!followers.follow(route(9999), &key(99), START));
    assert!(followers.follow(route(9999), &key(99), START + FOLLOW_TIMEOUT), "the others have vanished");
}
