//! Who sees which certificate, and what a route that waits for one says.

use time::OffsetDateTime;
use webgateway_proto::model::{CertificateId, DnsRecord};
use webgateway_seal::SecretKey;

use super::*;
use crate::store::WriteTx;
use crate::store::certificates::{InternalAuthority, IssuedCertificate, put, put_authority};
use crate::store::issuance::{self, IssuanceState};

const OWN: &str = "app.example.org";

impl TestDomain {
    async fn create_own(&self, who: &str, fqdn: &str) -> RouteStatus {
        let params = CreateRoute { fqdn: Some(fqdn.to_owned()), subdomain: None, ..create_params("x") };
        self.domain.create_route(&self.caller(who), params).await.unwrap()
    }

    async fn ids(&self, who: &str) -> Vec<String> {
        let all = PageRequest::default();
        let certificates = self.domain.list_certificates(&self.caller(who), &all).await.unwrap();
        certificates.entries.iter().map(|certified| certified.id.to_string()).collect()
    }

    async fn write(&self, work: impl FnOnce(&mut WriteTx<'_>) -> Result<(), StoreError> + Send + 'static) {
        self.domain.store.write("test", work).await.unwrap();
    }

    /// As if an attempt had failed.
    async fn failed(&self, id: &str) {
        let record = DnsRecord { name: id.into(), kind: "CNAME".into(), value: "gw.example".into() };
        let id = CertificateId::parse(id).unwrap();
        let (last_error, records) = (Some("no such name".to_owned()), vec![record]);
        let stands = IssuanceState { failures: 2, last_error, records, ..IssuanceState::new(id) };
        self.write(move |tx| issuance::put(tx, &stands)).await;
    }

    /// As if the internal CA had issued.
    async fn issued(&self, id: &str, not_after: OffsetDateTime) {
        let certificate = IssuedCertificate {
            id: CertificateId::parse(id).unwrap(),
            names: vec![id.parse().unwrap()],
            chain: String::new(),
            key: vec![1].into(),
            issuer: "internal".into(),
            not_before: OffsetDateTime::UNIX_EPOCH,
            not_after,
        };
        let key = SecretKey::new(&[1; 32]).unwrap();
        self.write(move |tx| put(tx, &certificate, &key)).await;
    }

    async fn state(&self) -> CertificateState {
        self.domain.certificate(&self.caller("user1.pub"), OWN).await.unwrap().state
    }
}

#[tokio::test]
async fn a_certificate_exists_for_whose_route_needs_it_and_for_the_admin() {
    let test = TestDomain::new();
    test.create_own("user1.pub", OWN).await;
    test.create_own("user1.pub", "deep.er.gw.example").await;
    test.create("user1.pub", "covered").await.unwrap();
    let passed = passed_through("passed.example.org");
    test.domain.create_route(&test.caller("user1.pub"), passed).await.unwrap();
    assert_eq!(test.ids("user1.pub").await, [OWN, "deep.er.gw.example"]);
    assert!(test.ids("user2.pub").await.is_empty());
    assert_eq!(test.ids("admin.pub").await, [OWN, "deep.er.gw.example", "gw.example"]);

    let admin = test.domain.certificate(&test.caller("admin.pub"), "gw.example").await.unwrap();
    assert_eq!(
        admin.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["gw.example", "*.gw.example"]
    );
    for (who, id) in [
        ("user2.pub", OWN),
        ("user1.pub", "gw.example"),
        ("user1.pub", "covered.gw.example"),
        ("user1.pub", "passed.example.org"),
        ("admin.pub", "nobody.example.org"),
        ("admin.pub", "no host"),
    ] {
        let caller = test.caller(who);
        let shown = test.domain.certificate(&caller, id).await;
        assert!(matches!(shown, Err(DomainError::NoCertificate(_))), "{who} {id}");
        let renewed = test.domain.renew_certificate(&caller, id).await;
        assert!(matches!(renewed, Err(DomainError::NoCertificate(_))), "{who} {id}");
    }
}

#[tokio::test]
async fn renewal_is_asked_for_by_the_owner_and_audited() {
    let test = TestDomain::new();
    test.create_own("user1.pub", OWN).await;
    let before = test.revision();
    let asked = test.domain.renew_certificate(&test.caller("user1.pub"), OWN).await.unwrap();
    assert!(asked.issuance.renew_requested);
    assert_eq!(test.revision(), before + 1, "whoever issues is woken");
    assert_eq!(test.audited(format!("certificate/{OWN}")).await, 1);
    test.suspend("user1.pub", true).await.unwrap();
    let refused = test.domain.renew_certificate(&test.caller("user1.pub"), OWN).await;
    assert!(matches!(refused, Err(DomainError::User(UserError::Suspended { .. }))));
}

#[tokio::test]
async fn its_state_is_told_by_what_is_held_and_what_failed() {
    let test = TestDomain::new();
    test.create_own("user1.pub", OWN).await;
    assert_eq!(test.state().await, CertificateState::Waiting);
    let now = test.domain.clock.now();
    test.issued(OWN, now + time::Duration::DAY).await;
    assert_eq!(test.state().await, CertificateState::Valid);
    test.failed(OWN).await;
    assert_eq!(test.state().await, CertificateState::Failing);
    test.issued(OWN, now - time::Duration::DAY).await;
    assert_eq!(test.state().await, CertificateState::Expired);
}

#[tokio::test]
async fn a_route_that_waits_says_why_and_which_record_is_missing() {
    let test = TestDomain::new();
    let problem = test.create_own("user1.pub", OWN).await.problem.unwrap();
    assert_eq!((problem.reason.as_str(), problem.records.len()), ("its certificate is being issued", 0));
    test.failed(OWN).await;
    test.failed("gw.example").await;
    test.create("user1.pub", "covered").await.unwrap();
    let routes = test.list(&test.caller("user1.pub")).await.unwrap();
    let told: Vec<_> = routes.into_iter().map(|route| route.problem.unwrap()).collect();
    assert_eq!((told[0].reason.as_str(), told[0].records[0].kind.as_str()), ("no such name", "CNAME"));
    assert!(told[1].reason.contains("the operator's to see to: no such name"), "{}", told[1].reason);
    assert!(told[1].records.is_empty(), "not the owner's to create");
    test.issued(OWN, test.domain.clock.now() + time::Duration::DAY).await;
    let routes = test.list(&test.caller("user1.pub")).await.unwrap();
    assert_eq!((routes[0].state, &routes[0].problem), (RouteState::Active, &None));
}

#[tokio::test]
async fn the_root_is_shown_while_the_internal_ca_issues() {
    let test = TestDomain::new();
    assert!(matches!(test.domain.root().await, Err(DomainError::NoRoot)));
    let authority = InternalAuthority { certificate: "PEM".to_owned(), key: vec![1].into() };
    let key = SecretKey::new(&[1; 32]).unwrap();
    test.write(move |tx| put_authority(tx, &authority, &key)).await;
    assert!(matches!(test.domain.root().await, Err(DomainError::NoRoot)), "it has issued nothing");
    test.issued("gw.example", test.domain.clock.now()).await;
    assert_eq!(test.domain.root().await.unwrap(), "PEM");
}

#[tokio::test]
async fn the_pages_together_are_the_list_the_base_domains_in_its_place() {
    let test = TestDomain::new();
    for (who, host) in [("u1", "a.example"), ("u2", "b.example"), ("u1", "h.example"), ("u1", "z.example")] {
        test.create_own(who, host).await;
    }
    test.create("u1", "app").await.unwrap();
    test.domain.create_route(&test.caller("u1"), passed_through("own.example")).await.unwrap();
    let all = ["a.example", "b.example", "gw.example", "h.example", "z.example"];
    for limit in 1..=6 {
        for (who, expected) in [("admin.pub", &all[..]), ("u1", &["a.example", "h.example", "z.example"])] {
            let (mut ids, mut cursor) = (Vec::new(), None);
            loop {
                let request = PageRequest { limit: Some(limit), cursor };
                let page = test.domain.list_certificates(&test.caller(who), &request).await.unwrap();
                assert!(page.entries.len() <= limit as usize);
                ids.extend(page.entries.into_iter().map(|certified| certified.id.to_string()));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(ids, expected, "{who}, {limit} a page");
        }
    }
    let page = PageRequest { limit: Some(0), cursor: None };
    let refused = test.domain.list_certificates(&test.caller("u1"), &page).await;
    assert!(matches!(refused, Err(DomainError::Limit(1000))));
}

#[tokio::test]
async fn a_page_ends_early_after_many_routes_that_need_none() {
    let test = TestDomain::new();
    test.create("u1", "zz").await.unwrap();
    let owner = "u1".parse().unwrap();
    let seen: Result<_, StoreError> = test
        .domain
        .store
        .read("test", move |tx| {
            let mut hosts = Vec::new();
            let mut visit = |most| {
                crate::store::routes::scan(tx, Some(&owner), None, most, |host, _| {
                    hosts.push(host.to_string());
                    std::ops::ControlFlow::Continue(())
                })
            };
            Ok((visit(1)?, visit(2)?, hosts))
        })
        .await;
    let (cut, whole, hosts) = seen.unwrap();
    assert_eq!((cut.unwrap().as_str(), whole), ("zz.gw.example", None));
    assert_eq!(hosts, ["zz.gw.example", "zz.gw.example"]);
}
