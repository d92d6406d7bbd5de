//! Tests of reserved labels, nested hosts, and claims with a real store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use webgateway_proto::model::options::KeyIds;

use super::*;
use crate::store::tenure;

const SHOP: &str = "shop.example.org";

/// The DNS of a test: the evidence about each host. A host without an entry leads nowhere.
#[derive(Debug, Default)]
struct TestDns(Mutex<BTreeMap<Host, HostEvidence>>);

impl TestDns {
    /// Sets the owners that TXT records name, and whether the host leads here.
    fn set(&self, host: &str, owners: &[&str], is_here: bool) {
        let evidence = HostEvidence {
            owners: Ok(owners.iter().map(|owner| owner.parse().unwrap()).collect()),
            target: Ok(if is_here { HostTarget::Here } else { elsewhere() }),
        };
        self.0.lock().unwrap().insert(Host::parse(host).unwrap(), evidence);
    }

    fn fail(&self, host: &str) {
        let failed = HostEvidence { owners: Err("SERVFAIL".into()), target: Err("SERVFAIL".into()) };
        self.0.lock().unwrap().insert(Host::parse(host).unwrap(), failed);
    }
}

fn elsewhere() -> HostTarget {
    HostTarget::Elsewhere { reason: "it has no address".into(), records: Vec::new() }
}

#[async_trait::async_trait]
impl HostLookup for TestDns {
    async fn look_up(&self, host: &Host) -> HostEvidence {
        let none = HostEvidence { owners: Ok(BTreeSet::new()), target: Ok(elsewhere()) };
        self.0.lock().unwrap().get(host).cloned().unwrap_or(none)
    }
}

/// Returns a domain in which hosts must be proven in this DNS.
fn proving(ttl: time::Duration) -> (TestDomain, Arc<TestDns>) {
    let (mut test, dns) = (TestDomain::new(), Arc::new(TestDns::default()));
    let lookup = Arc::clone(&dns) as Arc<dyn HostLookup>;
    test.domain.claims =
        ClaimPolicy { lookup, is_required: true, ttl, max_claims: 3, ..ClaimPolicy::trusting() };
    (test, dns)
}

impl TestDomain {
    async fn claim(&self, who: &str, fqdn: &str) -> Result<RouteStatus, DomainError> {
        self.domain.create_route(&self.caller(who), route_at(fqdn)).await
    }

    async fn check(&self, host: &str) {
        self.domain.check_host(&Host::parse(host).unwrap()).await.unwrap();
    }

    /// Returns the state of a user's route; `None` if there is no such route.
    async fn route_state(&self, who: &str, id: RouteId) -> Option<RouteState> {
        self.domain.route(&self.caller(who), id).await.ok().map(|status| status.state)
    }

    /// Returns the methods of the audit records about claims that a user sees, newest first.
    async fn decisions(&self, who: &str) -> Vec<String> {
        let records = self.domain.audit(&self.caller(who), AuditQuery::default()).await.unwrap();
        let methods = records.into_iter().map(|record| record.method);
        methods.filter(|method| method.starts_with("claims.")).collect()
    }
}

fn route_at(fqdn: &str) -> CreateRoute {
    CreateRoute {
        fqdn: Some(fqdn.to_owned()),
        mode: Mode::Passthrough,
        backends: vec!["[400::1]:8443".to_owned()],
        ..CreateRoute::default()
    }
}

fn allowing(fqdn: &str, owners: &[&str]) -> CreateRoute {
    let owners: Vec<String> = owners.iter().map(ToString::to_string).collect();
    let options =
        RouteOptions { subdomain_owners: KeyIds::try_from(owners).unwrap(), ..RouteOptions::default() };
    CreateRoute { options, ..route_at(fqdn) }
}

fn taken(result: Result<RouteStatus, DomainError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(DomainError::Nested(_)) => "nested",
        Err(DomainError::Reserved(..)) => "reserved",
        Err(DomainError::HostTaken { .. }) => "taken",
        Err(DomainError::User(UserError::Claims { .. })) => "claims",
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn hosts_above_and_below_another_owners_are_refused() {
    for (first, second, expected) in [
        // Below, at any depth, inside and outside the base domain.
        ("app.gw.example", "b.app.gw.example", "nested"),
        ("app.gw.example", "c.b.app.gw.example", "nested"),
        ("shop.example.org", "b.shop.example.org", "nested"),
        ("example.org", "a.b.c.example.org", "nested"),
        ("bücher.example", "a.xn--bcher-kva.example", "nested"),
        // Above.
        ("b.app.gw.example", "app.gw.example", "nested"),
        ("c.b.app.gw.example", "app.gw.example", "nested"),
        ("b.shop.example.org", "shop.example.org", "nested"),
        ("a.b.c.example.org", "example.org", "nested"),
        // Beside, or only alike.
        ("app.gw.example", "app2.gw.example", "ok"),
        ("app.gw.example", "xapp.gw.example", "ok"),
        ("a.b.gw.example", "c.b.gw.example", "ok"),
        ("app.gw.example", "b.app.gw.example.org", "ok"),
        ("shop.example.org", "shop-2.example.org", "ok"),
        ("a.shop.example.org", "xa.shop.example.org", "ok"),
        // A host above the base domain has nothing to do with the hosts below it.
        ("app.gw.example", "gw2.example", "ok"),
        ("app.gw.example", "app.gw.example", "taken"),
    ] {
        let test = TestDomain::new();
        test.claim("a.pub", first).await.unwrap();
        assert_eq!(taken(test.claim("b.pub", second).await), expected, "{first} {second}");
        let other = test.claim("b.pub", "other.example").await.unwrap().route.id;
        let rename = UpdateRoute { fqdn: Some(second.to_owned()), ..UpdateRoute::new(other) };
        let renamed = test.update("b.pub", rename).await;
        let expected = if expected == "ok" { "taken" } else { expected };
        assert_eq!(taken(renamed), expected, "rename: {first} {second}");
        if expected == "nested" {
            assert_eq!(taken(test.claim("a.pub", second).await), "ok", "one's own: {first} {second}");
        }
    }
}

#[tokio::test]
async fn the_admin_a_listed_owner_and_a_txt_record_may_go_below_a_host() {
    let (test, dns) = proving(time::Duration::DAY);
    let create = async |who: &str, command| taken(test.domain.create_route(&test.caller(who), command).await);
    assert_eq!(create("a.pub", allowing("app.gw.example", &["b.pub"])).await, "ok");
    assert_eq!(create("b.pub", allowing("b.app.gw.example", &["c.pub"])).await, "ok");
    assert_eq!(create("c.pub", route_at("c.app.gw.example")).await, "nested");
    assert_eq!(
        create("c.pub", route_at("c.b.app.gw.example")).await,
        "ok",
        "allowed by the nearest host above"
    );
    assert_eq!(create("d.pub", route_at("d.c.b.app.gw.example")).await, "nested");
    assert_eq!(create("admin.pub", route_at("x.app.gw.example")).await, "ok");
    dns.set("d.app.gw.example", &["c.pub", "d.pub"], false);
    assert_eq!(
        create("d.pub", route_at("d.app.gw.example")).await,
        "ok",
        "the operator's TXT record allows it"
    );
    assert_eq!(create("e.pub", route_at("e.d.app.gw.example")).await, "nested");
    let refused = test.claim("e.pub", "e.app.gw.example").await.unwrap_err().to_string();
    assert!(refused.contains("is below `app.gw.example`"), "{refused}");
    let refused = test.claim("e.pub", "b.pub.app.gw.example").await.unwrap_err().to_string();
    assert!(refused.contains("is below `app.gw.example`"), "{refused}");
}

#[tokio::test]
async fn reserved_labels_are_for_the_admin_and_for_those_who_have_them() {
    let mut test = TestDomain::new();
    test.domain.hosts = HostPolicy::new(Host::parse("gw.example").unwrap(), BTreeSet::new());
    let old = test.claim("a.pub", "www.gw.example").await.unwrap().route;
    let labels = ["www", "mail"].map(str::to_owned);
    test.domain.hosts = HostPolicy::new(Host::parse("gw.example").unwrap(), BTreeSet::from(labels));
    for host in [
        "mail.gw.example",
        "MAIL.gw.example",
        "ｍａｉｌ.gw.example",
        "x.mail.gw.example",
        "mail.x.gw.example",
    ] {
        assert_eq!(taken(test.claim("b.pub", host).await), "reserved", "{host}");
    }
    for host in ["mail.gw.example", "x.mail.gw.example", "mail.x.gw.example"] {
        assert_eq!(taken(test.claim("admin.pub", host).await), "ok", "{host}");
    }
    for host in ["mail.example.org", "mailer.gw.example"] {
        assert_eq!(taken(test.claim("b.pub", host).await), "ok", "{host}");
    }
    let change = UpdateRoute { backends: Some(vec!["[400::2]:8443".to_owned()]), ..UpdateRoute::new(old.id) };
    assert_eq!(taken(test.update("a.pub", change).await), "ok", "an existing route keeps working");
    let same = UpdateRoute { fqdn: Some("www.gw.example".to_owned()), ..UpdateRoute::new(old.id) };
    assert_eq!(taken(test.update("a.pub", same).await), "ok");
}

#[tokio::test]
async fn a_claim_is_proven_and_displaced_and_returns() {
    let (test, dns) = proving(time::Duration::DAY);
    let a = test.claim("a.pub", SHOP).await.unwrap();
    assert_eq!(a.state, RouteState::Unproven);
    let records = a.problem.unwrap().records;
    assert_eq!(records.last().unwrap().value, "\"gateway=gw.example key=a.pub\"");
    let a = a.route.id;
    test.check(SHOP).await;
    assert_eq!(test.route_state("a.pub", a).await, Some(RouteState::Unproven));
    dns.set(SHOP, &[], true);
    test.check(SHOP).await;
    assert_eq!(test.route_state("a.pub", a).await, Some(RouteState::Active));
    let b = test.claim("b.pub", SHOP).await.unwrap().route.id;
    assert_eq!(taken(test.claim("b.pub", SHOP).await), "taken", "one claim for each owner");
    test.check(SHOP).await;
    assert_eq!(test.route_state("b.pub", b).await, Some(RouteState::Unproven));
    dns.set(SHOP, &["b.pub"], true);
    test.check(SHOP).await;
    assert_eq!(test.route_state("a.pub", a).await, Some(RouteState::Displaced));
    assert_eq!(test.route_state("b.pub", b).await, Some(RouteState::Active));
    assert_eq!(test.decisions("a.pub").await, ["claims.displace", "claims.prove"]);
    assert_eq!(test.decisions("b.pub").await, ["claims.prove"]);
    assert!(test.decisions("A.pub").await.is_empty() && test.decisions("_.pub").await.is_empty());
    dns.set(SHOP, &[], false);
    test.check(SHOP).await;
    dns.fail(SHOP);
    test.check(SHOP).await;
    assert_eq!(
        test.route_state("b.pub", b).await,
        Some(RouteState::Active),
        "a vanished proof changes nothing"
    );
    dns.set(SHOP, &[], true);
    test.domain
        .delete_route(&test.caller("b.pub"), DeleteRoute { id: b, expected_version: None })
        .await
        .unwrap();
    let (due, _) = test.domain.due_claims(10).await.unwrap();
    assert_eq!(due, [("a.pub".parse().unwrap(), Host::parse(SHOP).unwrap())], "the next claim takes over");
    test.check(SHOP).await;
    assert_eq!(test.route_state("a.pub", a).await, Some(RouteState::Active));
}

#[tokio::test]
async fn claims_expire_are_bounded_and_follow_a_rename() {
    let (test, dns) = proving(time::Duration::ZERO);
    let a = test.claim("a.pub", SHOP).await.unwrap().route.id;
    dns.fail(SHOP);
    test.check(SHOP).await;
    assert_eq!(test.route_state("a.pub", a).await, Some(RouteState::Unproven), "an outage drops nothing");
    dns.set(SHOP, &["z.pub"], true);
    test.check(SHOP).await;
    assert_eq!(test.route_state("a.pub", a).await, None);
    assert_eq!(test.decisions("a.pub").await, ["claims.expire"]);
    let mut claimed = Vec::new();
    for host in ["a.example", "b.example", "c.example"] {
        claimed.push(test.claim("a.pub", host).await.unwrap().route.id);
    }
    assert_eq!(taken(test.claim("a.pub", "d.example").await), "claims");
    assert_eq!(taken(test.create("a.pub", "app").await), "ok", "a subdomain needs no proof");
    assert_eq!(taken(test.claim("admin.pub", "d.example").await), "ok", "nor does the admin");
    dns.set("a.example", &[], true);
    test.check("a.example").await;
    assert_eq!(
        test.route_state("a.pub", claimed[0]).await,
        Some(RouteState::Active),
        "proven although its time is over"
    );
    let rename = UpdateRoute { fqdn: Some("e.example".to_owned()), ..UpdateRoute::new(claimed[0]) };
    let renamed = test.update("a.pub", rename).await.unwrap();
    assert_eq!(renamed.state, RouteState::Unproven, "a new host is a new claim");
    let rename = UpdateRoute {
        subdomain: Some("e".to_owned()),
        mode: Some(Mode::Terminate),
        ..UpdateRoute::new(claimed[0])
    };
    assert_ne!(test.update("a.pub", rename).await.unwrap().state, RouteState::Unproven);
}

#[tokio::test]
async fn a_host_nested_after_the_claim_needs_a_txt_record() {
    let (test, dns) = proving(time::Duration::DAY);
    let deep = test.claim("b.pub", "b.shop.example.org").await.unwrap().route.id;
    test.claim("a.pub", SHOP).await.unwrap();
    dns.set(SHOP, &[], true);
    test.check(SHOP).await;
    dns.set("b.shop.example.org", &[], true);
    test.check("b.shop.example.org").await;
    assert_eq!(test.route_state("b.pub", deep).await, Some(RouteState::Unproven));
    dns.set("b.shop.example.org", &["b.pub"], false);
    test.check("b.shop.example.org").await;
    assert_eq!(test.route_state("b.pub", deep).await, Some(RouteState::Active));
}

#[tokio::test]
async fn concurrent_claims_and_checks_leave_one_holder() {
    let (test, dns) = proving(time::Duration::DAY);
    dns.set(SHOP, &[], true);
    let mut tasks = JoinSet::new();
    for number in 0..8 {
        let (domain, caller) = (test.domain.clone(), test.caller(&format!("u{number}.pub")));
        let (domain2, shop) = (domain.clone(), Host::parse(SHOP).unwrap());
        tasks.spawn(async move { domain.create_route(&caller, route_at(SHOP)).await.map(drop).unwrap() });
        tasks.spawn(async move { domain2.check_host(&shop).await.unwrap() });
    }
    tasks.join_all().await;
    dns.set(SHOP, &["u3.pub"], true);
    test.check(SHOP).await;
    let host = Host::parse(SHOP).unwrap();
    let held = test.domain.store.read("test", move |tx| -> Result<_, StoreError> {
        let all = tenure::of_host(tx, &host)?;
        let held = all.iter().filter(|(_, held)| *held).map(|(route, _)| route.owner.to_string());
        Ok((all.len(), held.collect::<Vec<_>>()))
    });
    assert_eq!(held.await.unwrap(), (8, vec!["u3.pub".to_owned()]));
}

#[tokio::test]
async fn the_routes_of_one_host_are_on_consecutive_pages() {
    let (test, _) = proving(time::Duration::DAY);
    for who in ["a.pub", "b.pub", "c.pub", "d.pub", "e.pub"] {
        test.claim(who, SHOP).await.unwrap();
    }
    test.claim("a.pub", "aaa.example.org").await.unwrap();
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = PageRequest { limit: Some(2), cursor };
        let query = ListRoutes { page, ..ListRoutes::default() };
        let (_, page) = test.domain.list_routes(&test.caller("admin.pub"), query).await.unwrap();
        seen.extend(page.entries.into_iter().map(|status| (status.route.host, status.route.id)));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 6);
    assert!(seen.is_sorted(), "{seen:?}");
}

/// A directory with one node, which does not answer.
#[derive(Debug)]
struct SilentNode;

#[async_trait::async_trait]
impl NodeDirectory for SilentNode {
    fn nodes(&self) -> Vec<NodeStatus> {
        Vec::new()
    }

    async fn wait_acked(&self, _: &AckTarget, _: std::time::Duration) -> AckProgress {
        AckProgress::default()
    }

    async fn explain(&self, _: &Host, _: std::time::Duration) -> Vec<NodeExplanation> {
        vec![NodeExplanation { node: "one".into(), rejects: Vec::new(), explanation: None }]
    }
}

#[tokio::test]
async fn a_claim_does_not_reveal_what_the_nodes_know_about_the_holders_route() {
    let (mut test, dns) = proving(time::Duration::DAY);
    test.domain.nodes = Arc::new(SilentNode);
    test.claim("a.pub", SHOP).await.unwrap();
    dns.set(SHOP, &["a.pub"], true);
    test.check(SHOP).await;
    test.claim("b.pub", SHOP).await.unwrap();
    let host = Host::parse(SHOP).unwrap();
    let nodes = async |who: &str| {
        let report = test.domain.explain(&test.caller(who), &host).await.unwrap();
        (report.route.is_some(), report.nodes.len())
    };
    assert_eq!(nodes("a.pub").await, (true, 1));
    assert_eq!(nodes("b.pub").await, (true, 0), "a claim");
    assert_eq!(nodes("c.pub").await, (false, 0), "no route");
    assert_eq!(nodes("admin.pub").await, (true, 1));
    let suspend = SuspendUser { user: "b.pub".parse().unwrap(), reason: None, until: None };
    test.domain.suspend(&test.caller("admin.pub"), suspend).await.unwrap();
    assert_eq!(nodes("b.pub").await, (true, 0), "a claim of a suspended owner");
}
