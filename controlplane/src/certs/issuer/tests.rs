//! The recorded outcome of failed attempts.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::certs::acme::AcmeError;
use crate::certs::samples::{IssuerFixture, base};
use crate::clock::Clock;

static NOW: AtomicI64 = AtomicI64::new(1_900_000_000);

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW.load(Ordering::Relaxed)).unwrap()
}

#[tokio::test]
async fn attempts_at_an_unreachable_ca_back_off() {
    let IssuerFixture { _dir, issuer, .. } = IssuerFixture::without_a_ca(Clock::from_fn(now));
    let spec = CertificateSpec::base(&base());
    for (failures, minutes) in [(1, 1), (2, 10), (3, 100), (4, 1440)] {
        let next = issuer.clone().attempt(spec.clone()).await;
        assert_eq!(next - now(), time::Duration::minutes(minutes));
        let id = spec.id.clone();
        let read = issuer.0.orders.store.read("test", move |tx| issuance::find(tx, &id));
        let state = read.await.unwrap();
        assert_eq!((state.failures, state.next_attempt), (failures, Some(next)));
        assert!(state.last_error.unwrap().contains("cannot be reached"));
        assert!(state.last_ca.unwrap().starts_with("https://127.0.0.1:"));
        NOW.fetch_add(minutes * 60, Ordering::Relaxed);
    }
}

fn fresh() -> IssuanceState {
    IssuanceState::new(CertificateId::from(&base()))
}

const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

#[test]
fn a_missing_record_is_not_a_failure_and_is_checked_again_soon() {
    let record = DnsRecord { name: "shop.example".into(), kind: "A".into(), value: "192.0.2.1".into() };
    let missing =
        || AttemptError::Missing { reason: "it leads elsewhere".into(), records: vec![record.clone()] };
    let (word, first) = after_failure(START, fresh(), missing());
    assert_eq!((word, first.failures, first.missing_since), ("missing", 0, Some(START)));
    assert_eq!(first.records, std::slice::from_ref(&record));
    assert_eq!(first.next_attempt, Some(START + time::Duration::seconds(15)));
    let day = START + time::Duration::days(1);
    let (_, later) = after_failure(day, first.clone(), missing());
    assert_eq!(
        (later.missing_since, later.next_attempt),
        (Some(START), Some(day + time::Duration::hours(1)))
    );
    let (_, other) = after_failure(day, first, AttemptError::Order(OrderError::Timeout));
    assert_eq!((other.failures, other.records, other.missing_since), (1, vec![], None));
}

#[test]
fn the_retry_after_of_the_ca_is_respected() {
    let hour = START + time::Duration::hours(1);
    let refused = |retry_after| {
        let message = "too many (rateLimited)".to_owned();
        AttemptError::Order(OrderError::Acme(AcmeError {
            kind: AcmeErrorKind::Retryable,
            message,
            retry_after,
        }))
    };
    let (word, state) = after_failure(START, fresh(), refused(Some(hour)));
    assert_eq!((word, state.next_attempt), ("failed", Some(hour)));
    assert_eq!(state.last_error.as_deref(), Some("too many (rateLimited)"));
    let (_, state) = after_failure(START, fresh(), refused(None));
    assert_eq!(state.next_attempt, Some(START + time::Duration::minutes(1)));
}

#[test]
fn the_renewal_time_lies_in_the_window() {
    let end = START + time::Duration::days(2);
    for _ in 0..100 {
        assert!((START..=end).contains(&random_time_in(START, end)));
    }
    assert_eq!(random_time_in(end, START), end, "a window that ends before it starts");
}
