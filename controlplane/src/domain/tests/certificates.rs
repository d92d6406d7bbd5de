//! Tests of the visibility and state of certificates, and of the problems of routes that wait for one.

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

    /// Records a failed attempt to issue a certificate.
    async fn record_failure(&self, id: &str) {
        let record = DnsRecord { name: id.into(), kind: "CNAME".into(), value: "gw.example".into() };
        let id = CertificateId::parse(id).unwrap();
        let (last_error, records) = (Some("no such name".to_owned()), vec![record]);
        let state = IssuanceState { failures: 2, last_error, records, ..IssuanceState::new(id) };
        self.write(move |tx| issuance::put(tx, &state)).await;
    }

    /// Stores a certificate as if the internal CA had issued it.
    async fn store_certificate(&self, id: &str, not_after: OffsetDateTime) {
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
async fn owners_see_the_certificates_their_routes_need_and_the_admin_sees_all() {
    let test = TestDomain::new();
    test.create_own("user1.pub", OWN).await;
    test.create_own("user1.pub", "deep.er.gw.example").await;
    test.create("user1.pub", "covered").await.unwrap();
    let passthrough = passthrough_params("passed.example.org");
    test.domain.create_route(&test.caller("user1.pub"), passthrough).await.unwrap();
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
        let found = test.domain.certificate(&caller, id).await;
        assert!(matches!(found, Err(DomainError::NoCertificate(_))), "{who} {id}");
        let renewed = test.domain.renew_certificate(&caller, id).await;
        assert!(matches!(renewed, Err(DomainError::NoCertificate(_))), "{who} {id}");
    }
}

#[tokio::test]
async fn the_owner_can_request_a_renewal_and_it_is_audited() {
    let test = TestDomain::new();
    test.create_own("user1.pub", OWN).await;
    let before = test.revision();
    let status = test.domain.renew_certificate(&test.caller("user1.pub"), OWN).await.unwrap();
    assert!(status.issuance.renew_requested);
    assert_eq!(test.revision(), before + 1, "the new revision wakes the issuer");
    assert_eq!(test.audited(format!("certificate/{OWN}")).await, 1);
    test.suspend("user1.pub", true).await.unwrap();
    let refused = test.domain.renew_certificate(&test.caller("user1.pub"), OWN).await;
    assert!(matches!(refused, Err(DomainError::User(UserError::Suspended { .. }))));
}

#[tokio::test]
async fn the_state_of_a_certificate_depends_on_its_expiry_and_on_failed_attempts() {
    let test = TestDomain::new();
    test.create_own("user1.pub", OWN).await;
    assert_eq!(test.state().await, CertificateState::Waiting);
    let now = test.domain.clock.now();
    test.store_certificate(OWN, now + time::Duration::DAY).await;
    assert_eq!(test.state().await, CertificateState::Valid);
    test.record_failure(OWN).await;
    assert_eq!(test.state().await, CertificateState::Failing);
    test.store_certificate(OWN, now - time::Duration::DAY).await;
    assert_eq!(test.state().await, CertificateState::Expired);
}

#[tokio::test]
async fn a_route_without_certificate_reports_the_failure_and_the_missing_records() {
    let test = TestDomain::new();
    let problem = test.create_own("user1.pub", OWN).await.problem.unwrap();
    assert_eq!((problem.reason.as_str(), problem.records.len()), ("its certificate is being issued", 0));
    test.record_failure(OWN).await;
    test.record_failure("gw.example").await;
    test.create("user1.pub", "covered").await.unwrap();
    let routes = test.list(&test.caller("user1.pub")).await.unwrap();
    let problems: Vec<_> = routes.into_iter().map(|route| route.problem.unwrap()).collect();
    assert_eq!(
        (problems[0].reason.as_str(), problems[0].records[0].kind.as_str()),
        ("no such name", "CNAME")
    );
    assert!(
        problems[1].reason.contains("which the operator has to fix: no such name"),
        "{}",
        problems[1].reason
    );
    assert!(problems[1].records.is_empty(), "the operator creates these records");
    test.store_certificate(OWN, test.domain.clock.now() + time::Duration::DAY).await;
    let routes = test.list(&test.caller("user1.pub")).await.unwrap();
    assert_eq!((routes[0].state, &routes[0].problem), (RouteState::Active, &None));
}

#[tokio::test]
async fn the_root_is_available_while_the_internal_ca_issues() {
    let test = TestDomain::new();
    assert!(matches!(test.domain.root().await, Err(DomainError::NoRoot)));
    let authority = InternalAuthority { certificate: "PEM".to_owned(), key: vec![1].into() };
    let key = SecretKey::new(&[1; 32]).unwrap();
    test.write(move |tx| put_authority(tx, &authority, &key)).await;
    assert!(matches!(test.domain.root().await, Err(DomainError::NoRoot)), "it has issued nothing");
    test.store_certificate("gw.example", test.domain.clock.now()).await;
    assert_eq!(test.domain.root().await.unwrap(), "PEM");
}

#[tokio::test]
async fn pages_of_any_size_list_all_certificates_in_order() {
    let test = TestDomain::new();
    for (who, host) in [("u1", "a.example"), ("u2", "b.example"), ("u1", "h.example"), ("u1", "z.example")] {
        test.create_own(who, host).await;
    }
    test.create("u1", "app").await.unwrap();
    test.domain.create_route(&test.caller("u1"), passthrough_params("own.example")).await.unwrap();
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
    let scanned: Result<_, StoreError> = test
        .domain
        .store
        .read("test", move |tx| {
            let mut hosts = Vec::new();
            let mut scan = |most| {
                crate::store::routes::scan(tx, Some(&owner), None, most, |host, _| {
                    hosts.push(host.to_string());
                    std::ops::ControlFlow::Continue(())
                })
            };
            Ok((scan(1)?, scan(2)?, hosts))
        })
        .await;
    let (limited, complete, hosts) = scanned.unwrap();
    assert_eq!((limited.unwrap().as_str(), complete), ("zz.gw.example", None));
    assert_eq!(hosts, ["zz.gw.example", "zz.gw.example"]);
}
