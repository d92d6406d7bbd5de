//! Certificates in a real store while routes are created and deleted.

use std::sync::atomic::{AtomicI64, Ordering};

use prometheus_client::registry::Registry;
use tempfile::TempDir;
use webgateway_process::{Stop, Tasks};
use webgateway_proto::model::{Backends, Destination, Mode, Prefixes, Route, RouteId};

use super::*;
use crate::certs::internal::InternalCa;
use crate::certs::samples;
use crate::reconcile;
use crate::store::{WriteTx, coverage, routes, users};

struct ReconcilerFixture {
    _dir: TempDir,
    store: Store,
    certificates: CertificateReconciler,
    registry: Registry,
}

impl ReconcilerFixture {
    /// Returns the gauge of certificates in this state.
    fn gauge(&self, state: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let line = format!("webgateway_certificates_managed{{state=\"{state}\"}} ");
        text.lines().find_map(|l| l.strip_prefix(&line)).unwrap().parse().unwrap()
    }
}

async fn fixture(clock: Clock) -> ReconcilerFixture {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("controlplane.db");
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let store = Store::open(&path, metrics.clone()).unwrap();
    let key = Arc::new(SecretKey::new(&[1; 32]).unwrap());
    let ca = InternalCa::open(&store, &key, dir.path(), clock.now()).await.unwrap();
    let base = Host::parse("gw.example").unwrap();
    let issuer = Issuer::Internal(ca);
    let certificates = CertificateReconciler::new(CertificateReconcilerParts {
        store: store.clone(),
        key,
        issuer,
        base,
        clock,
        metrics,
    });
    ReconcilerFixture { _dir: dir, store, certificates, registry }
}

async fn write<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&mut WriteTx<'_>) -> Result<T, StoreError> + Send + 'static,
) -> T {
    store.write("test", work).await.unwrap()
}

async fn create(store: &Store, host: &'static str, mode: Mode) -> RouteId {
    write(store, move |tx| {
        let now = OffsetDateTime::UNIX_EPOCH;
        let route = Route {
            id: RouteId::generate(),
            owner: "u1.pub".parse().unwrap(),
            host: Host::parse(host).unwrap(),
            destination: Destination {
                mode,
                ..Backends::parse(&["[400::1]:80"], &Prefixes::default()).unwrap().into()
            },
            version: tx.revise()?,
            created_at: now,
            updated_at: now,
        };
        users::ensure(tx, &route.owner, now)?;
        routes::insert(tx, &route, true)?;
        Ok(route.id)
    })
    .await
}

async fn certificate_ids(store: &Store) -> Vec<String> {
    write(store, |tx| list(tx)).await.into_iter().map(|certificate| certificate.id.to_string()).collect()
}

#[tokio::test]
async fn only_terminated_hosts_get_certificates() {
    let mut fixture = fixture(Clock::system()).await;
    create(&fixture.store, "app.gw.example", Mode::Terminate).await;
    create(&fixture.store, "own.example", Mode::Passthrough).await;
    create(&fixture.store, "shop.example", Mode::Terminate).await;
    fixture.certificates.pass().await.unwrap();
    assert_eq!(certificate_ids(&fixture.store).await, ["gw.example", "shop.example"]);

    let revision = *fixture.store.changed().borrow();
    fixture.certificates.pass().await.unwrap();
    assert_eq!(*fixture.store.changed().borrow(), revision, "a second pass changes nothing");

    create(&fixture.store, "deep.app.gw.example", Mode::Terminate).await;
    create(&fixture.store, "own2.example", Mode::Passthrough).await;
    fixture.certificates.pass().await.unwrap();
    assert_eq!(certificate_ids(&fixture.store).await, ["deep.app.gw.example", "gw.example", "shop.example"]);
}

#[tokio::test]
async fn the_gauges_follow_at_once() {
    let mut fixture = fixture(Clock::system()).await;
    fixture.certificates.pass().await.unwrap();
    assert_eq!(["valid", "expired", "waiting", "failing"].map(|state| fixture.gauge(state)), [1, 0, 0, 0]);
    let shop = create(&fixture.store, "shop.example", Mode::Terminate).await;
    fixture.certificates.pass().await.unwrap();
    assert_eq!(fixture.gauge("valid"), 2, "issued in this pass");
    write(&fixture.store, move |tx| {
        let version = tx.revise()?;
        routes::delete(tx, shop, version, OffsetDateTime::UNIX_EPOCH)
    })
    .await;
    fixture.certificates.full_at = OffsetDateTime::UNIX_EPOCH;
    fixture.certificates.pass().await.unwrap();
    assert_eq!(fixture.gauge("valid"), 1, "dropped in this pass");

    let new = CertificateId::parse("new.example").unwrap();
    let failed = issuance::IssuanceState { failures: 2, ..issuance::IssuanceState::new(new) };
    write(&fixture.store, move |tx| issuance::put(tx, &failed)).await;
    fixture.certificates.counts_changed = true;
    fixture.certificates.pass().await.unwrap();
    assert_eq!((fixture.gauge("waiting"), fixture.gauge("failing")), (1, 1));
}

static NOW: AtomicI64 = AtomicI64::new(1_900_000_000);

#[tokio::test]
async fn certificates_are_renewed_in_time_and_dropped_when_unneeded() {
    let clock = Clock::from_fn(|| OffsetDateTime::from_unix_timestamp(NOW.load(Ordering::Relaxed)).unwrap());
    let mut fixture = fixture(clock).await;
    let shop = create(&fixture.store, "shop.example", Mode::Terminate).await;
    let pause = fixture.certificates.pass().await.unwrap();
    assert_eq!(pause, FULL_PASS_INTERVAL);
    let first = write(&fixture.store, |tx| list(tx)).await;

    write(&fixture.store, move |tx| {
        let version = tx.revise()?;
        routes::delete(tx, shop, version, OffsetDateTime::UNIX_EPOCH)
    })
    .await;
    NOW.fetch_add(59 * 86_400, Ordering::Relaxed);
    fixture.certificates.pass().await.unwrap();
    assert_eq!(write(&fixture.store, |tx| list(tx)).await, first[..1], "dropped; the other is not due yet");

    NOW.fetch_add(86_400, Ordering::Relaxed);
    fixture.certificates.pass().await.unwrap();
    let renewed = write(&fixture.store, |tx| list(tx)).await;
    assert_eq!(renewed[0].not_before - first[0].not_before, time::Duration::days(60));
}

#[tokio::test]
async fn a_new_route_gets_a_certificate_without_waiting_for_a_full_pass() {
    let ReconcilerFixture { _dir, store, certificates, .. } = fixture(Clock::system()).await;
    let tasks = Tasks::new(Stop::new());
    let run = reconcile::run("certificates", certificates, store.changed(), tasks.stop().clone());
    tasks.essential("certificates", run);
    let mut changed = store.changed();
    create(&store, "shop.example", Mode::Terminate).await;
    let covered = async {
        let host = Host::parse("shop.example").unwrap();
        loop {
            let wanted = host.clone();
            if write(&store, move |tx| coverage::covers(tx, &wanted)).await {
                break;
            }
            changed.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), covered).await.unwrap();
    tasks.stop().begin();
    tasks.run_until_stopped(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test]
async fn a_failed_attempt_waits_for_its_backoff_unless_a_renewal_is_requested() {
    let samples::IssuerFixture { _dir, store, key, metrics, issuer } =
        samples::IssuerFixture::without_a_ca(Clock::system());
    let mut certificates = CertificateReconciler::new(CertificateReconcilerParts {
        store: store.clone(),
        key,
        issuer: Issuer::Acme(issuer),
        base: samples::base(),
        clock: Clock::system(),
        metrics,
    });
    let base = CertificateId::from(&samples::base());
    certificates.pass().await.unwrap();
    assert_eq!(certificates.jobs.busy.iter().collect::<Vec<_>>(), [&base], "requested, not awaited");
    certificates.run_background_work().await;
    assert!(certificates.jobs.busy.is_empty());
    let pause = certificates.pass().await.unwrap();
    assert!(pause > Duration::from_secs(50) && pause <= Duration::from_secs(60), "{pause:?}");

    create(&store, "app.gw.example", Mode::Terminate).await;
    certificates.pass().await.unwrap();
    assert!(certificates.jobs.busy.is_empty(), "an unrelated change triggers no attempt");

    let id = base.clone();
    write(&store, move |tx| issuance::request_renewal(tx, &id)).await;
    certificates.pass().await.unwrap();
    certificates.pass().await.unwrap();
    assert_eq!(certificates.jobs.busy.iter().collect::<Vec<_>>(), [&base], "once");
    certificates.run_background_work().await;
    let state = write(&store, move |tx| issuance::find(tx, &base)).await;
    assert_eq!((state.failures, state.renew_requested), (2, false));
}

#[tokio::test]
async fn a_suspended_owners_hosts_wait_until_the_suspension_ends() {
    let mut fixture = fixture(Clock::system()).await;
    create(&fixture.store, "shop.example", Mode::Terminate).await;
    let suspend = |suspended| {
        move |tx: &mut WriteTx<'_>| users::set_suspended(tx, &"u1.pub".parse().unwrap(), suspended)
    };
    write(&fixture.store, suspend(true)).await;
    fixture.certificates.pass().await.unwrap();
    assert_eq!(certificate_ids(&fixture.store).await, ["gw.example"]);
    write(&fixture.store, suspend(false)).await;
    fixture.certificates.pass().await.unwrap();
    assert_eq!(certificate_ids(&fixture.store).await, ["gw.example", "shop.example"]);
}
