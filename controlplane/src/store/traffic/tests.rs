//! Traffic in a real database.

use prometheus_client::registry::Registry;
use tempfile::TempDir;
use time::OffsetDateTime;
use webgateway_proto::model::{Backends, Host, Prefixes, Route};

use super::*;
use crate::metrics::Metrics;
use crate::store::{Store, users};

struct Fixture {
    store: Store,
    _dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let metrics = Metrics::register(&mut Registry::default());
        Self { store: Store::open(&dir.path().join("x.db"), metrics).unwrap(), _dir: dir }
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut WriteTx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.store.write("test", work).await.unwrap()
    }

    async fn create(&self, n: u8, owner: &'static str) -> RouteId {
        self.write(move |tx| {
            let now = OffsetDateTime::UNIX_EPOCH;
            let route = Route {
                id: RouteId::from_bytes([n; 16]),
                owner: owner.parse().unwrap(),
                host: Host::parse(&format!("r{n}.example")).unwrap(),
                destination: Backends::parse(&["[400::1]:80"], &Prefixes::default()).unwrap().into(),
                version: tx.revise()?,
                created_at: now,
                updated_at: now,
            };
            users::ensure(tx, &route.owner, now)?;
            super::super::routes::insert(tx, &route, true)?;
            Ok(route.id)
        })
        .await
    }

    async fn add(&self, rows: Vec<TrafficRow>) {
        self.write(move |tx| add(tx, &rows)).await;
    }

    async fn rows(&self, route: RouteId, hour: i64) -> Vec<TrafficRow> {
        self.write(move |tx| rows(tx, route, hour)).await
    }
}

fn row(route: RouteId, hour: i64, node: &str, requests: u64) -> TrafficRow {
    let mut traffic =
        Traffic { responses: [0, requests, 0, 0, 0], sent: 10 * requests, ..Traffic::default() };
    traffic.add_errors("connection_refused", 1);
    traffic.latencies.add_to_bucket(5, requests);
    TrafficRow { route, hour, node: node.to_owned(), traffic }
}

#[tokio::test]
async fn traffic_adds_up_by_hour_and_node_and_goes_with_its_route() {
    let fixture = Fixture::new();
    let (one, two) = (fixture.create(1, "a.pub").await, fixture.create(2, "b.pub").await);
    let gone = RouteId::from_bytes([9; 16]);
    let written =
        vec![row(one, 10, "n1", 1), row(one, 10, "n2", 2), row(one, 11, "n1", 4), row(gone, 11, "n", 1)];
    let revision = *fixture.store.changed().borrow();
    fixture.add(written).await;
    fixture.add(vec![row(one, 10, "n1", 8), row(two, 11, "n1", 100)]).await;
    assert_eq!(*fixture.store.changed().borrow(), revision, "nodes need not know");
    let found = fixture.rows(one, 0).await;
    let shown: Vec<_> = found.iter().map(|r| (r.hour, r.node.as_str(), r.traffic.requests())).collect();
    assert_eq!(shown, [(10, "n1", 9), (10, "n2", 2), (11, "n1", 4)]);
    assert_eq!(found[0].traffic.errors["connection_refused"], 2);
    assert_eq!(found[0].traffic.latencies.buckets().collect::<Vec<_>>(), [(5, 9)]);
    assert_eq!(fixture.rows(one, 11).await.len(), 1);
    assert!(fixture.rows(gone, 0).await.is_empty(), "a route that does not exist has no rows");

    let sums_of = |owner: Option<&'static str>, hour| {
        fixture.write(move |tx| {
            let owner: Option<KeyId> = owner.map(|owner| owner.parse().unwrap());
            let mut sums = sums(tx, owner.as_ref(), hour)?;
            sums.sort_by_key(|(_, sums)| sums.requests);
            Ok(sums)
        })
    };
    let sums = |requests| TrafficSums { requests, bytes: 10 * requests };
    assert_eq!(sums_of(None, 0).await, [(one, sums(15)), (two, sums(100))]);
    assert_eq!(sums_of(Some("a.pub"), 11).await, [(one, sums(4))]);
    assert!(sums_of(Some("c.pub"), 0).await.is_empty());

    fixture
        .write(move |tx| {
            let version = tx.revise()?;
            super::super::routes::delete(tx, one, version, OffsetDateTime::UNIX_EPOCH)
        })
        .await;
    assert!(fixture.rows(one, 0).await.is_empty());
    assert_eq!(fixture.rows(two, 0).await.len(), 1);
}

#[tokio::test]
async fn old_and_surplus_hours_are_deleted() {
    let fixture = Fixture::new();
    let one = fixture.create(1, "a.pub").await;
    fixture.add((0..10).flat_map(|hour| [row(one, hour, "n1", 1), row(one, hour, "n2", 1)]).collect()).await;
    let left = async |hour, max_rows| {
        fixture.write(move |tx| prune(tx, hour, max_rows)).await;
        let rows = fixture.rows(one, 0).await;
        (rows.first().map(|row| row.hour), rows.len())
    };
    assert_eq!(left(0, 20).await, (Some(0), 20));
    assert_eq!(left(3, 20).await, (Some(3), 14));
    assert_eq!(left(3, 5).await, (Some(8), 4), "whole hours");
    assert_eq!(left(3, 0).await, (None, 0));
}

#[tokio::test]
async fn huge_counts_do_not_overflow() {
    let fixture = Fixture::new();
    let one = fixture.create(1, "a.pub").await;
    let huge = Traffic { received: u64::MAX, sent: u64::MAX, cancelled: u64::MAX, ..Traffic::default() };
    let row = |hour| TrafficRow { route: one, hour, node: "n".into(), traffic: huge.clone() };
    fixture.add(vec![row(1), row(1), row(2)]).await;
    let sums = fixture.write(|tx| sums(tx, None, 0)).await;
    assert!(sums[0].1.bytes > u64::MAX / 4, "{sums:?}");
}
