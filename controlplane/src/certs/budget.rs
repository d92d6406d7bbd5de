//! A count of our requests against the rate limits of CAs, which stops a loop before a CA blocks us.

use thiserror::Error;
use time::{Duration, OffsetDateTime};
use webgateway_proto::model::{CertName, Host};

use crate::store::budgets::{BudgetKey, record, spent_since};
use crate::store::{StoreError, Tx, WriteTx};

/// A limit on the number of events within a window of time that ends now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CaLimit {
    kind: &'static str,
    count: usize,
    window: Duration,
    description: &'static str,
}

// The published limits of Let's Encrypt. Other CAs allow more or publish none.
const ORDERS: CaLimit = CaLimit {
    kind: "order",
    count: 300,
    window: Duration::hours(3),
    description: "new orders of one account",
};
const CERTIFICATES: CaLimit = CaLimit {
    kind: "certificate",
    count: 5,
    window: Duration::days(7),
    description: "certificates for one set of names",
};
const FAILURES: CaLimit = CaLimit {
    kind: "failure",
    count: 5,
    window: Duration::hours(1),
    description: "failed validations of one name",
};

/// A limit is exhausted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "held back before the CA's own limit applies: {count} {description} within {hours} h are used up{}",
    in_parentheses(subject)
)]
pub(crate) struct BudgetError {
    count: usize,
    description: &'static str,
    hours: i64,
    subject: String,
    /// The time at which the limit allows another event.
    pub until: OffsetDateTime,
}

fn in_parentheses(subject: &str) -> String {
    if subject.is_empty() { String::new() } else { format!(" ({subject})") }
}

/// The count of events at one CA.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    directory: String,
}

impl Budget {
    /// Creates the count for the CA with this directory URL.
    #[must_use]
    pub(crate) fn for_ca(directory: &str) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Returns an error if an order for these names would exceed a limit. `life` is the lifetime of the certificate
    /// that is to be replaced.
    pub(crate) fn check(
        &self,
        tx: &mut Tx<'_>,
        names: &[CertName],
        now: OffsetDateTime,
        life: Option<Duration>,
    ) -> Result<Result<(), BudgetError>, StoreError> {
        let mut checks = vec![(ORDERS, String::new()), (certificate_limit(life), names_key(names))];
        checks.extend(
            names.iter().map(|name| (FAILURES, name.to_string().trim_start_matches("*.").to_owned())),
        );
        for (limit, subject) in checks {
            let key = self.key(limit, subject.clone());
            if let Some(until) = available_at(limit, &spent_since(tx, &key, now - limit.window)?) {
                let hours = limit.window.whole_hours();
                return Ok(Err(BudgetError {
                    count: limit.count,
                    description: limit.description,
                    hours,
                    subject,
                    until,
                }));
            }
        }
        Ok(Ok(()))
    }

    /// Counts an order that is about to be placed.
    pub(crate) fn record_order(&self, tx: &mut WriteTx<'_>, now: OffsetDateTime) -> Result<(), StoreError> {
        record(tx, &self.key(ORDERS, String::new()), now)
    }

    /// Counts an issued certificate.
    pub(crate) fn record_certificate(
        &self,
        tx: &mut WriteTx<'_>,
        names: &[CertName],
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        record(tx, &self.key(CERTIFICATES, names_key(names)), now)
    }

    /// Counts a failed validation.
    pub(crate) fn record_failure(
        &self,
        tx: &mut WriteTx<'_>,
        host: &Host,
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        record(tx, &self.key(FAILURES, host.to_string()), now)
    }

    fn key(&self, limit: CaLimit, subject: String) -> BudgetKey {
        BudgetKey { directory: self.directory.clone(), kind: limit.kind, subject }
    }
}

/// Returns the limit on certificates. Short-lived ones are renewed more often, so that four per lifetime are allowed.
fn certificate_limit(life: Option<Duration>) -> CaLimit {
    let needed =
        life.filter(|life| life.is_positive()).map_or(0.0, |life| 4.0 * (CERTIFICATES.window / life));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    let needed = needed.ceil() as usize;
    CaLimit { count: CERTIFICATES.count.max(needed), ..CERTIFICATES }
}

/// Returns the time at which another event is allowed; `None` if it is allowed now. `times` holds the counted events
/// within the window, oldest first.
fn available_at(limit: CaLimit, times: &[OffsetDateTime]) -> Option<OffsetDateTime> {
    let first_counted = times.len().checked_sub(limit.count)?;
    times.get(first_counted).map(|at| *at + limit.window)
}

fn names_key(names: &[CertName]) -> String {
    let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.sort();
    names.join(" ")
}

#[cfg(test)]
mod tests {
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
        let store =
            Store::open(&dir.path().join("c.db"), Metrics::register(&mut Registry::default())).unwrap();
        let write = store.write("test", |tx| -> Result<(), StoreError> {
            let (budget, other) = (Budget::for_ca("https://one/dir"), Budget::for_ca("https://two/dir"));
            let names: Vec<CertName> =
                ["shop.example", "*.shop.example"].map(|name| name.parse().unwrap()).into();
            for minute in 0..5 {
                assert_eq!(budget.check(tx, &names, START + Duration::minutes(minute), None)?, Ok(()));
                budget.record_failure(
                    tx,
                    &Host::parse("shop.example").unwrap(),
                    START + Duration::minutes(minute),
                )?;
            }
            let now = START + Duration::minutes(30);
            let refused = budget.check(tx, &names, now, None)?.unwrap_err();
            assert_eq!(refused.until, START + Duration::hours(1));
            assert!(refused.to_string().contains("shop.example"), "{refused}");
            assert_eq!(other.check(tx, &names, now, None)?, Ok(()), "the limits of another CA are separate");
            assert_eq!(budget.check(tx, &names, refused.until + Duration::seconds(1), None)?, Ok(()));
            let again = refused.until;
            for _ in 0..5 {
                budget.record_certificate(tx, &[names[1].clone(), names[0].clone()], again)?;
            }
            let refused = budget.check(tx, &names, again, None)?.unwrap_err();
            assert_eq!(refused.until, again + Duration::days(7), "the order of the names does not matter");
            Ok(())
        });
        write.await.unwrap();
    }
}
