//! Tests of suspensions, quotas, lists of users and dry runs.

use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use webgateway_proto::audit::{AuditRecord, GATEWAY};
use webgateway_proto::model::{Limit, Quota, Reason};

use super::*;

fn time(text: &str) -> OffsetDateTime {
    OffsetDateTime::parse(text, &Rfc3339).unwrap()
}

fn until(user: &str, reason: Option<&str>, until: Option<&str>) -> SuspendUser {
    let reason = reason.map(|reason| reason.parse().unwrap());
    SuspendUser { reason, until: until.map(time), ..suspension(user) }
}

async fn suspend(test: &TestDomain, command: SuspendUser) -> Result<SuspensionStatus, DomainError> {
    test.domain.suspend(&test.caller("admin.pub"), command).await
}

async fn quota(test: &TestDomain, command: SetQuota) -> Result<UserOverview, DomainError> {
    test.domain.set_quota(&test.caller("admin.pub"), command).await
}

fn limited(user: &str) -> SetQuota {
    SetQuota { user: user.parse().unwrap(), routes: None, backends: None, mutations_per_minute: None }
}

async fn records(test: &TestDomain, target: &str) -> Vec<AuditRecord> {
    let filter = audit::AuditFilter { target: Some(target.into()), ..audit::AuditFilter::default() };
    let found: Result<_, StoreError> =
        test.domain.store.read("test", move |tx| audit::newest(tx, &filter, None, 100)).await;
    found.unwrap()
}

#[tokio::test]
async fn a_suspension_ends_at_its_time_and_is_audited() {
    static NOW: AtomicI64 = AtomicI64::new(1_899_996_400);
    let mut test = TestDomain::new();
    test.domain.clock =
        Clock::from_fn(|| OffsetDateTime::from_unix_timestamp(NOW.load(Ordering::Relaxed)).unwrap());
    let id = test.create("u.pub", "app").await.unwrap().route.id;
    let end = "2030-03-17T18:46:40+01:00";
    let state = suspend(&test, until("u.pub", Some(" late bill "), Some(end))).await.unwrap();
    let suspension = state.suspension.unwrap();
    assert_eq!(
        (suspension.reason.as_ref().map(Reason::as_str), suspension.until),
        (Some("late bill"), Some(time("2030-03-17T17:46:40Z")))
    );
    let refused = test.create("u.pub", "more").await.unwrap_err().to_string();
    let expected = "`u.pub` is suspended and cannot change anything until 2030-03-17T17:46:40Z: late bill";
    assert_eq!(refused, expected);
    let shown = test.domain.route(&test.caller("u.pub"), id).await.unwrap();
    assert_eq!(shown.problem.unwrap().reason, "suspended until 2030-03-17T17:46:40Z: late bill");

    let (revision, ends) = (test.revision(), OffsetDateTime::from_unix_timestamp(1_900_000_000).unwrap());
    assert_eq!(test.domain.end_suspensions().await.unwrap(), Some(ends));
    assert_eq!(test.revision(), revision, "not yet");
    NOW.store(1_900_000_000, Ordering::Relaxed);
    assert_eq!(test.domain.end_suspensions().await.unwrap(), None);
    assert_eq!(test.revision(), revision + 1);
    let shown = test.domain.route(&test.caller("u.pub"), id).await.unwrap();
    assert_eq!(shown.state, RouteState::WaitingForCertificate);
    test.create("u.pub", "more").await.unwrap();

    let records = records(&test, "user/u.pub").await;
    let by: Vec<_> = records.iter().map(|record| (&*record.caller, &*record.method)).collect();
    assert_eq!(by, [(GATEWAY, "admin.unsuspend"), ("admin.pub", "admin.suspend")]);
    assert_eq!(records[0].before["reason"], "late bill");
    assert_eq!(records[0].check(records[1].hash.as_deref(), None), Ok(()), "the hash chain continues");
}

#[tokio::test]
async fn a_second_suspend_replaces_reason_and_end() {
    let test = TestDomain::new();
    test.create("u.pub", "app").await.unwrap();
    let far = "2999-01-01T00:00:00Z";
    let first = suspend(&test, until("u.pub", Some("one"), Some(far))).await.unwrap();
    let again = suspend(&test, until("u.pub", Some("one"), Some(far))).await.unwrap();
    assert_eq!(again, first, "nothing changed");
    let second = suspend(&test, until("u.pub", Some("two"), None)).await.unwrap();
    let (one, two) = (first.suspension.unwrap(), second.suspension.unwrap());
    assert_eq!(
        (two.reason.as_ref().map(Reason::as_str), two.until, two.since),
        (Some("two"), None, one.since)
    );
    assert_eq!(test.domain.end_suspensions().await.unwrap(), None, "no end any more");
    assert_eq!(records(&test, "user/u.pub").await.len(), 2);
}

#[tokio::test]
async fn an_end_in_the_past_is_refused() {
    let test = TestDomain::new();
    test.create("u.pub", "app").await.unwrap();
    let revision = test.revision();
    let refused = suspend(&test, until("u.pub", None, Some("2001-01-01T00:00:00Z"))).await;
    assert!(matches!(refused, Err(DomainError::User(UserError::UntilOver(_)))), "{refused:?}");
    assert_eq!(test.revision(), revision);
}

#[tokio::test]
async fn users_are_listed_in_pages_with_usage_and_quota() {
    let mut test = TestDomain::new();
    test.domain.quotas = Quotas::new(Quota { routes: Some(5), ..Quota::default() });
    for (user, label) in
        [("b.pub", "b"), ("a.pub", "a1"), ("a.pub", "a2"), ("c.pub", "c"), ("admin.pub", "x")]
    {
        test.create(user, label).await.unwrap();
    }
    suspend(&test, suspension("b.pub")).await.unwrap();
    quota(&test, SetQuota { routes: Some(Some(Limit::Unlimited)), ..limited("c.pub") }).await.unwrap();
    let (mut users, mut cursor) = (Vec::new(), None);
    loop {
        let request = PageRequest { limit: Some(3), cursor };
        let page = test.domain.list_users(&test.caller("admin.pub"), None, &request).await.unwrap();
        users.extend(page.entries);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let listed: Vec<_> = users
        .iter()
        .map(|UserOverview { user, quota }| {
            (user.id.as_str(), user.routes, quota.routes, user.suspension.is_some())
        })
        .collect();
    let expected = [
        ("a.pub", 2, Some(5), false),
        ("admin.pub", 1, None, false),
        ("b.pub", 1, Some(5), true),
        ("c.pub", 1, None, false),
    ];
    assert_eq!(listed, expected);
    for (suspended, expected) in [(true, vec!["b.pub"]), (false, vec!["a.pub", "admin.pub", "c.pub"])] {
        let (admin, all) = (test.caller("admin.pub"), PageRequest::default());
        let page = test.domain.list_users(&admin, Some(suspended), &all).await.unwrap();
        assert_eq!(page.entries.iter().map(|one| one.user.id.as_str()).collect::<Vec<_>>(), expected);
    }
    let refused = test.domain.list_users(&test.caller("a.pub"), None, &PageRequest::default()).await;
    assert!(matches!(refused, Err(DomainError::AdminOnly)));
}

#[tokio::test]
async fn concurrent_creates_stay_within_the_quota() {
    let mut test = TestDomain::new();
    test.domain.quotas = Quotas::new(Quota { routes: Some(10), ..Quota::default() });
    let mut creates = JoinSet::new();
    for i in 0..50 {
        let (domain, caller) = (test.domain.clone(), test.caller("u.pub"));
        creates.spawn(async move { domain.create_route(&caller, create_params(&format!("app{i}"))).await });
    }
    let (made, refused): (Vec<_>, Vec<_>) = creates.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (10, 40));
    for refused in refused {
        assert_eq!(refused.unwrap_err().to_string(), "you have 10 of 10 routes");
    }
    let gone = made.into_iter().next().unwrap().unwrap().route;
    test.domain.delete_route(&test.caller("u.pub"), deletion(gone.id)).await.unwrap();
    let again = CreateRoute { id: Some(RouteId::generate()), ..create_params("last") };
    for _ in 0..3 {
        test.domain.create_route(&test.caller("u.pub"), again.clone()).await.expect("a retry counts once");
    }
    assert!(test.create("u.pub", "over").await.is_err());
}

#[tokio::test]
async fn backends_are_counted_over_all_routes_on_create_and_update() {
    let mut test = TestDomain::new();
    test.domain.quotas = Quotas::new(Quota { backends: Some(3), ..Quota::default() });
    let id = test.create("u.pub", "one").await.unwrap().route.id;
    test.create("u.pub", "two").await.unwrap();
    let with = |n: u32| UpdateRoute {
        backends: Some((1..=n).map(|i| format!("[400::{i}]:80")).collect()),
        ..UpdateRoute::new(id)
    };
    let refused = test.update("u.pub", with(3)).await.unwrap_err();
    assert_eq!(refused.to_string(), "you have 2 of 3 backends, and this adds 2");
    test.update("u.pub", with(2)).await.unwrap();
    assert!(test.create("u.pub", "three").await.is_err());

    // A lower quota removes nothing and allows reductions. The admin is not limited.
    quota(&test, SetQuota { backends: Some(Some(Limit::AtMost(1))), ..limited("u.pub") }).await.unwrap();
    let moved = UpdateRoute { backends: Some(vec!["[400::8]:80".into(), "[400::9]:80".into()]), ..with(1) };
    test.update("u.pub", moved).await.expect("no more than before");
    test.update("u.pub", with(1)).await.unwrap();
    test.update("admin.pub", with(9)).await.unwrap();
    let user = quota(&test, SetQuota { backends: Some(None), ..limited("u.pub") }).await.unwrap();
    let have = (user.user.routes, user.user.backends);
    assert_eq!((have, user.quota.backends), ((2, 10), Some(3)), "the default again");
}

#[tokio::test]
async fn quotas_can_be_set_separately_and_are_audited() {
    let test = TestDomain::new();
    let refused = quota(&test, limited("new.pub")).await;
    assert!(matches!(refused, Err(DomainError::User(UserError::Unknown(_)))), "no key and no route yet");
    test.add_key("new.pub");
    let rate = SetQuota { mutations_per_minute: Some(Some(Limit::AtMost(2))), ..limited("new.pub") };
    let user = quota(&test, rate.clone()).await.unwrap();
    assert_eq!((user.quota.mutations_per_minute, user.quota.routes), (Some(2), None));
    assert!(test.domain.quotas.reserve(&test.caller("new.pub"), 2).has_any());
    assert!(!test.domain.quotas.reserve(&test.caller("new.pub"), 1).has_any());
    assert!(test.domain.quotas.reserve(&test.caller("other.pub"), 9).has_any());
    quota(&test, rate).await.unwrap();
    let user =
        quota(&test, SetQuota { routes: Some(Some(Limit::AtMost(7))), ..limited("new.pub") }).await.unwrap();
    assert_eq!((user.quota.mutations_per_minute, user.quota.routes), (Some(2), Some(7)));
    let records = records(&test, "user/new.pub").await;
    assert_eq!(records.len(), 2, "a command without effect is not audited");
    assert_eq!((&records[0].before["routes"], &records[0].after["routes"]), (&json!(null), &json!(7)));

    let fresh = Domain { quotas: Quotas::default(), ..test.domain.clone() };
    fresh.quotas.load(&fresh.store).await.unwrap();
    let mut allowance = fresh.quotas.reserve(&test.caller("new.pub"), 3);
    let allowed = [allowance.spend().is_ok(), allowance.spend().is_ok(), allowance.spend().is_ok()];
    assert_eq!(allowed, [true, true, false], "the limit is loaded after a restart");
    let refused = quota(&test, limited("admin.pub")).await;
    assert!(matches!(refused, Err(DomainError::User(UserError::QuotaAdmin))));
    let by = test.caller("new.pub");
    assert!(matches!(test.domain.set_quota(&by, limited("new.pub")).await, Err(DomainError::AdminOnly)));
}

#[tokio::test]
async fn a_dry_run_checks_a_change_and_returns_its_result_without_storing_it() {
    let mut test = TestDomain::new();
    test.domain.quotas = Quotas::new(Quota { routes: Some(1), ..Quota::default() });
    let caller = test.caller("u.pub");
    let revision = test.revision();
    let params = CreateRoute { dry_run: true, ..create_params("app") };
    let would_be = test.domain.create_route(&caller, params.clone()).await.unwrap();
    assert_eq!(
        (would_be.route.host.as_str(), would_be.state),
        ("app.gw.example", RouteState::WaitingForCertificate)
    );
    assert!(test.list(&caller).await.unwrap().is_empty());
    assert_eq!(test.audited(format!("route/{}", would_be.route.id)).await, 0);
    let made = test.domain.create_route(&caller, create_params("app")).await.unwrap();
    assert_eq!((test.revision(), made.route.version), (revision + 1, would_be.route.version));

    let taken = test.domain.create_route(&test.caller("v.pub"), params).await;
    assert!(matches!(taken, Err(DomainError::HostTaken { .. })));
    let over = test.domain.create_route(&caller, CreateRoute { dry_run: true, ..create_params("b") }).await;
    assert!(matches!(over, Err(DomainError::User(UserError::Routes { have: 1, most: 1 }))));
    let id = made.route.id;
    let update = UpdateRoute { options: random_balance(), dry_run: true, ..UpdateRoute::new(id) };
    let would_be = test.update("u.pub", update).await.unwrap();
    assert_eq!(would_be.route.destination.options.balance, Balance::Random);
    assert_eq!(test.domain.route(&caller, id).await.unwrap().route, made.route);
    assert_eq!(test.revision(), revision + 1);
}
