//! Users: suspensions that end, quotas that hold, lists, and changes that are only tried.

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

fn until(user: &str, reason: Option<&str>, until: Option<&str>) -> Suspend {
    let reason = reason.map(|reason| reason.parse().unwrap());
    Suspend { reason, until: until.map(time), ..suspension(user) }
}

async fn suspend(scene: &Scene, command: Suspend) -> Result<UserStanding, Refusal> {
    scene.domain.suspend(&scene.caller("admin.pub"), command).await
}

async fn quota(scene: &Scene, command: SetQuota) -> Result<UserOverview, Refusal> {
    scene.domain.set_quota(&scene.caller("admin.pub"), command).await
}

fn limited(user: &str) -> SetQuota {
    SetQuota { user: user.parse().unwrap(), routes: None, backends: None, mutations_per_minute: None }
}

async fn records(scene: &Scene, target: &str) -> Vec<AuditRecord> {
    let filter = audit::AuditFilter { target: Some(target.into()), ..audit::AuditFilter::default() };
    let found: Result<_, StoreError> =
        scene.domain.store.read("test", move |tx| audit::newest(tx, &filter, None, 100)).await;
    found.unwrap()
}

#[tokio::test]
async fn a_suspension_ends_by_itself_and_the_audit_says_so() {
    static NOW: AtomicI64 = AtomicI64::new(1_899_996_400);
    let mut scene = Scene::new();
    scene.domain.clock =
        Clock::from_fn(|| OffsetDateTime::from_unix_timestamp(NOW.load(Ordering::Relaxed)).unwrap());
    let id = scene.create("u.pub", "app").await.unwrap().route.id;
    let end = "2030-03-17T18:46:40+01:00";
    let state = suspend(&scene, until("u.pub", Some(" late bill "), Some(end))).await.unwrap();
    let said = state.suspension.unwrap();
    assert_eq!(
        (said.reason.as_ref().map(Reason::as_str), said.until),
        (Some("late bill"), Some(time("2030-03-17T17:46:40Z")))
    );
    let refused = scene.create("u.pub", "more").await.unwrap_err().to_string();
    let told = "`u.pub` is suspended and cannot change anything until 2030-03-17T17:46:40Z: late bill";
    assert_eq!(refused, told);
    let shown = scene.domain.route(&scene.caller("u.pub"), id).await.unwrap();
    assert_eq!(shown.obstacle.unwrap().reason, "suspended until 2030-03-17T17:46:40Z: late bill");

    let (revision, ends) = (scene.revision(), OffsetDateTime::from_unix_timestamp(1_900_000_000).unwrap());
    assert_eq!(scene.domain.end_suspensions().await.unwrap(), Some(ends));
    assert_eq!(scene.revision(), revision, "not yet");
    NOW.store(1_900_000_000, Ordering::Relaxed);
    assert_eq!(scene.domain.end_suspensions().await.unwrap(), None);
    assert_eq!(scene.revision(), revision + 1);
    let shown = scene.domain.route(&scene.caller("u.pub"), id).await.unwrap();
    assert_eq!(shown.state, RouteState::WaitingForCertificate);
    scene.create("u.pub", "more").await.unwrap();

    let records = records(&scene, "user/u.pub").await;
    let by: Vec<_> = records.iter().map(|record| (&*record.caller, &*record.method)).collect();
    assert_eq!(by, [(GATEWAY, "admin.unsuspend"), ("admin.pub", "admin.suspend")]);
    assert_eq!(records[0].before["reason"], "late bill");
    assert_eq!(records[0].check(records[1].hash.as_deref(), None), Ok(()), "the chain goes on");
}

#[tokio::test]
async fn another_reason_or_end_takes_the_place_of_the_first() {
    let scene = Scene::new();
    scene.create("u.pub", "app").await.unwrap();
    let far = "2999-01-01T00:00:00Z";
    let first = suspend(&scene, until("u.pub", Some("one"), Some(far))).await.unwrap();
    let again = suspend(&scene, until("u.pub", Some("one"), Some(far))).await.unwrap();
    assert_eq!(again, first, "nothing changed");
    let second = suspend(&scene, until("u.pub", Some("two"), None)).await.unwrap();
    let (one, two) = (first.suspension.unwrap(), second.suspension.unwrap());
    assert_eq!(
        (two.reason.as_ref().map(Reason::as_str), two.until, two.since),
        (Some("two"), None, one.since)
    );
    assert_eq!(scene.domain.end_suspensions().await.unwrap(), None, "no end any more");
    assert_eq!(records(&scene, "user/u.pub").await.len(), 2);
}

#[tokio::test]
async fn an_end_that_is_over_is_refused() {
    let scene = Scene::new();
    scene.create("u.pub", "app").await.unwrap();
    let revision = scene.revision();
    let refused = suspend(&scene, until("u.pub", None, Some("2001-01-01T00:00:00Z"))).await;
    assert!(matches!(refused, Err(Refusal::User(UserRefusal::UntilOver(_)))), "{refused:?}");
    assert_eq!(scene.revision(), revision);
}

#[tokio::test]
async fn users_are_listed_page_by_page_with_what_they_have() {
    let mut scene = Scene::new();
    scene.domain.quotas = Quotas::new(Quota { routes: Some(5), ..Quota::default() });
    for (user, label) in
        [("b.pub", "b"), ("a.pub", "a1"), ("a.pub", "a2"), ("c.pub", "c"), ("admin.pub", "x")]
    {
        scene.create(user, label).await.unwrap();
    }
    suspend(&scene, suspension("b.pub")).await.unwrap();
    quota(&scene, SetQuota { routes: Some(Some(Limit::Unlimited)), ..limited("c.pub") }).await.unwrap();
    let (mut users, mut cursor) = (Vec::new(), None);
    loop {
        let request = PageRequest { limit: Some(3), cursor };
        let page = scene.domain.list_users(&scene.caller("admin.pub"), None, &request).await.unwrap();
        users.extend(page.entries);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let told: Vec<_> = users
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
    assert_eq!(told, expected);
    for (suspended, expected) in [(true, vec!["b.pub"]), (false, vec!["a.pub", "admin.pub", "c.pub"])] {
        let (admin, all) = (scene.caller("admin.pub"), PageRequest::default());
        let page = scene.domain.list_users(&admin, Some(suspended), &all).await.unwrap();
        assert_eq!(page.entries.iter().map(|one| one.user.id.as_str()).collect::<Vec<_>>(), expected);
    }
    let refused = scene.domain.list_users(&scene.caller("a.pub"), None, &PageRequest::default()).await;
    assert!(matches!(refused, Err(Refusal::AdminOnly)));
}

#[tokio::test]
async fn many_creates_at_once_stay_within_the_quota() {
    let mut scene = Scene::new();
    scene.domain.quotas = Quotas::new(Quota { routes: Some(10), ..Quota::default() });
    let mut creates = JoinSet::new();
    for i in 0..50 {
        let (domain, caller) = (scene.domain.clone(), scene.caller("u.pub"));
        creates.spawn(async move { domain.create_route(&caller, wanted(&format!("app{i}"))).await });
    }
    let (made, refused): (Vec<_>, Vec<_>) = creates.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (10, 40));
    for refused in refused {
        assert_eq!(refused.unwrap_err().to_string(), "you have 10 of 10 routes");
    }
    let gone = made.into_iter().next().unwrap().unwrap().route;
    scene.domain.delete_route(&scene.caller("u.pub"), deletion(gone.id)).await.unwrap();
    let again = CreateRoute { id: Some(RouteId::generate()), ..wanted("last") };
    for _ in 0..3 {
        scene.domain.create_route(&scene.caller("u.pub"), again.clone()).await.expect("a retry counts once");
    }
    assert!(scene.create("u.pub", "over").await.is_err());
}

#[tokio::test]
async fn backends_count_over_all_routes_also_in_updates() {
    let mut scene = Scene::new();
    scene.domain.quotas = Quotas::new(Quota { backends: Some(3), ..Quota::default() });
    let id = scene.create("u.pub", "one").await.unwrap().route.id;
    scene.create("u.pub", "two").await.unwrap();
    let with = |n: u32| UpdateRoute {
        backends: Some((1..=n).map(|i| format!("[400::{i}]:80")).collect()),
        ..UpdateRoute::new(id)
    };
    let refused = scene.update("u.pub", with(3)).await.unwrap_err();
    assert_eq!(refused.to_string(), "you have 2 of 3 backends, and this adds 2");
    scene.update("u.pub", with(2)).await.unwrap();
    assert!(scene.create("u.pub", "three").await.is_err());

    // What is there stays, and may become less; nobody holds the admin to it.
    quota(&scene, SetQuota { backends: Some(Some(Limit::AtMost(1))), ..limited("u.pub") }).await.unwrap();
    let moved = UpdateRoute { backends: Some(vec!["[400::8]:80".into(), "[400::9]:80".into()]), ..with(1) };
    scene.update("u.pub", moved).await.expect("no more than before");
    scene.update("u.pub", with(1)).await.unwrap();
    scene.update("admin.pub", with(9)).await.unwrap();
    let user = quota(&scene, SetQuota { backends: Some(None), ..limited("u.pub") }).await.unwrap();
    let have = (user.user.routes, user.user.backends);
    assert_eq!((have, user.quota.backends), ((2, 10), Some(3)), "the default again");
}

#[tokio::test]
async fn quotas_are_set_one_by_one_and_audited() {
    let scene = Scene::new();
    let refused = quota(&scene, limited("new.pub")).await;
    assert!(matches!(refused, Err(Refusal::User(UserRefusal::Unknown(_)))), "no key and no route yet");
    scene.add_key("new.pub");
    let rate = SetQuota { mutations_per_minute: Some(Some(Limit::AtMost(2))), ..limited("new.pub") };
    let user = quota(&scene, rate.clone()).await.unwrap();
    assert_eq!((user.quota.mutations_per_minute, user.quota.routes), (Some(2), None));
    assert!(scene.domain.quotas.grant(&scene.caller("new.pub"), 2).any());
    assert!(!scene.domain.quotas.grant(&scene.caller("new.pub"), 1).any());
    assert!(scene.domain.quotas.grant(&scene.caller("other.pub"), 9).any());
    quota(&scene, rate).await.unwrap();
    let user =
        quota(&scene, SetQuota { routes: Some(Some(Limit::AtMost(7))), ..limited("new.pub") }).await.unwrap();
    assert_eq!((user.quota.mutations_per_minute, user.quota.routes), (Some(2), Some(7)));
    let records = records(&scene, "user/new.pub").await;
    assert_eq!(records.len(), 2, "what changes nothing is no change");
    assert_eq!((&records[0].before["routes"], &records[0].after["routes"]), (&json!(null), &json!(7)));

    let fresh = Domain { quotas: Quotas::default(), ..scene.domain.clone() };
    fresh.quotas.load(&fresh.store).await.unwrap();
    let mut granted = fresh.quotas.grant(&scene.caller("new.pub"), 3);
    let allowed = [granted.spend().is_ok(), granted.spend().is_ok(), granted.spend().is_ok()];
    assert_eq!(allowed, [true, true, false], "after a restart too");
    let refused = quota(&scene, limited("admin.pub")).await;
    assert!(matches!(refused, Err(Refusal::User(UserRefusal::QuotaAdmin))));
    let by = scene.caller("new.pub");
    assert!(matches!(scene.domain.set_quota(&by, limited("new.pub")).await, Err(Refusal::AdminOnly)));
}

#[tokio::test]
async fn what_is_only_tried_is_checked_and_shown_and_not_done() {
    let mut scene = Scene::new();
    scene.domain.quotas = Quotas::new(Quota { routes: Some(1), ..Quota::default() });
    let caller = scene.caller("u.pub");
    let revision = scene.revision();
    let params = CreateRoute { dry_run: true, ..wanted("app") };
    let would_be = scene.domain.create_route(&caller, params.clone()).await.unwrap();
    assert_eq!(
        (would_be.route.host.as_str(), would_be.state),
        ("app.gw.example", RouteState::WaitingForCertificate)
    );
    assert!(scene.list(&caller).await.unwrap().is_empty());
    assert_eq!(scene.audited(format!("route/{}", would_be.route.id)).await, 0);
    let made = scene.domain.create_route(&caller, wanted("app")).await.unwrap();
    assert_eq!((scene.revision(), made.route.version), (revision + 1, would_be.route.version));

    let taken = scene.domain.create_route(&scene.caller("v.pub"), params).await;
    assert!(matches!(taken, Err(Refusal::HostTaken { .. })));
    let over = scene.domain.create_route(&caller, CreateRoute { dry_run: true, ..wanted("b") }).await;
    assert!(matches!(over, Err(Refusal::User(UserRefusal::Routes { have: 1, most: 1 }))));
    let id = made.route.id;
    let update = UpdateRoute { options: random(), dry_run: true, ..UpdateRoute::new(id) };
    let would_be = scene.update("u.pub", update).await.unwrap();
    assert_eq!(would_be.route.destination.options.balance, Balance::Random);
    assert_eq!(scene.domain.route(&caller, id).await.unwrap().route, made.route);
    assert_eq!(scene.revision(), revision + 1);
}
