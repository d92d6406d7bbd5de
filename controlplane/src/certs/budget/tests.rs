//! Tests of the limits, with a real store.

use prometheus_client::registry::Registry;
use proptest::prelude::*;

use super::*;
use crate::metrics::Metrics;
use crate::store::Store;

const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

proptest! {
    #[test]
    fn a_loop_never_exceeds_a_limit(pauses in proptest::collection::vec(0_i64..4000, 1..100)) {
        let (mut now, mut spent) = (START, Vec::<OffsetDateTime>::new());
        for pause in pauses {
            now += Duration::seconds(pause);
            let recent: Vec<_> = spent.iter().copied().filter(|at| *at > now - FAILURES.window).collect();
            match available_at(FAILURES, &recent) {
                None => spent.push(now),
                Some(until) => prop_assert!(until > now && until <= now + FAILURES.window),
            }
        }
        for (i, first) in spent.iter().enumerate() {
            let within = spent[i..].iter().filter(|at| **at < *first + FAILURES.window).count();
            prop_assert!(within <= FAILURES.count);
        }
    }
}

#[test]
fn short_lived_certificates_are_not_held_back_until_they_expire() {
    let count = |life| certificate_limit(Some(life)).count;
    assert_eq!([90, 6, 1].map(|days| count(Duration::days(days))), [5, 5, 28]);
    assert_eq!(count(Duration::hours(1)), 672);
    assert_eq!((certificate_limit(None).count, count(Duration::ZERO)), (5, 5));
}

#[tokio::test]
async fn an_exhausted_limit_is_reported_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("c.db"), Metrics::register(&mut Registry::default())).unwrap();
    let write = store.write("test", |tx| -> Result<(), StoreError> {
        let (budget, other) = (Budget::for_ca("https://one/dir"), Budget::for_ca("https://two/dir"));
        let names: Vec<CertName> =
            ["shop.example", "*.shop.example"].map(|name| name.parse().unwrap()).into();
        for minute in 0..5 {
            assert_eq!(budget.check(tx, of(&names, None), START + Duration::minutes(minute), None)?, Ok(()));
            budget.record_failure(
                tx,
                &Host::parse("shop.example").unwrap(),
                START + Duration::minutes(minute),
            )?;
        }
        let now = START + Duration::minutes(30);
        let refused = budget.check(tx, of(&names, None), now, None)?.unwrap_err();
        assert_eq!(refused.until, START + Duration::hours(1));
        assert!(refused.to_string().contains("shop.example"), "{refused}");
        assert_eq!(
            other.check(tx, of(&names, None), now, None)?,
            Ok(()),
            "the limits of another CA are separate"
        );
        assert_eq!(budget.check(tx, of(&names, None), refused.until + Duration::seconds(1), None)?, Ok(()));
        let again = refused.until;
        for _ in 0..5 {
            budget.record_certificate(tx, of(&[names[1].clone(), names[0].clone()], None), again, true)?;
        }
        let refused = budget.check(tx, of(&names, None), again, None)?.unwrap_err();
        assert_eq!(refused.until, again + Duration::days(7), "the order of the names does not matter");
        Ok(())
    });
    write.await.unwrap();
}

fn of<'a>(names: &'a [CertName], owner: Option<&'a KeyId>) -> OrderSubject<'a> {
    OrderSubject { names, owner }
}

async fn in_store(work: impl FnOnce(&mut WriteTx<'_>) -> Result<(), StoreError> + Send + 'static) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("c.db"), Metrics::register(&mut Registry::default())).unwrap();
    store.write("test", work).await.unwrap();
}

#[tokio::test]
async fn an_owner_of_a_thousand_hosts_leaves_orders_for_the_others() {
    in_store(|tx| {
        let budget = Budget::for_ca("https://one/dir");
        let (many, one): (KeyId, KeyId) = ("many.pub".parse().unwrap(), "one.pub".parse().unwrap());
        let name =
            |number: usize| vec![format!("shop{number}.example{number}.org").parse::<CertName>().unwrap()];
        let mut placed = 0;
        for number in 0..1000 {
            if budget.check(tx, of(&name(number), Some(&many)), START, None)?.is_ok() {
                budget.record_order(tx, Some(&many), START)?;
                placed += 1;
            }
        }
        assert_eq!(placed, ORDERS_OF_OWNER.count);
        assert_eq!(budget.check(tx, of(&name(1000), Some(&one)), START, None)?, Ok(()));
        let refused = budget.check(tx, of(&name(1000), Some(&many)), START, None)?.unwrap_err();
        assert!(
            refused.to_string().contains("new orders of one owner")
                && refused.to_string().contains("many.pub")
        );
        assert_eq!(refused.until, START + ORDERS_OF_OWNER.window);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn new_certificates_for_one_registered_domain_are_shared_too() {
    in_store(|tx| {
        let budget = Budget::for_ca("https://one/dir");
        let (many, one): (KeyId, KeyId) = ("many.pub".parse().unwrap(), "one.pub".parse().unwrap());
        let name = |number: usize| vec![format!("h{number}.app.gw.example").parse::<CertName>().unwrap()];
        for number in 0..DOMAIN_OF_OWNER.count {
            assert_eq!(budget.check(tx, of(&name(number), Some(&many)), START, None)?, Ok(()));
            budget.record_certificate(tx, of(&name(number), Some(&many)), START, false)?;
        }
        assert!(budget.check(tx, of(&name(100), Some(&many)), START, None)?.is_err());
        let life = Some(Duration::days(90));
        assert_eq!(budget.check(tx, of(&name(1), Some(&many)), START, life)?, Ok(()), "renewals are free");
        let elsewhere = ["h.gw.test".parse().unwrap()];
        assert_eq!(budget.check(tx, of(&elsewhere, Some(&many)), START, None)?, Ok(()));
        for number in DOMAIN_OF_OWNER.count..DOMAIN.count {
            assert_eq!(budget.check(tx, of(&name(number), Some(&one)), START, None)?, Ok(()));
            budget.record_certificate(tx, of(&name(number), Some(&one)), START, false)?;
        }
        let third = "third.pub".parse().unwrap();
        let refused = budget.check(tx, of(&name(100), Some(&third)), START, None)?.unwrap_err();
        assert!(refused.to_string().contains("(gw.example)"), "{refused}");
        Ok(())
    })
    .await;
}

#[test]
fn registered_domains_are_told_by_a_simple_rule() {
    for (host, domain) in [
        ("example.org", "example.org"),
        ("a.b.example.org", "example.org"),
        ("example.co.uk", "example.co.uk"),
        ("a.example.co.uk", "example.co.uk"),
        ("a.example.com.au", "example.com.au"),
        ("a.example.de", "example.de"),
        ("co.uk", "co.uk"),
        ("a.co.com", "co.com"),
    ] {
        assert_eq!(registered_domain(host), domain, "{host}");
    }
}
