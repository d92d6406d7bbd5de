//! The CAs' limits, kept by us: a loop stops here before it burns them.

use thiserror::Error;
use time::{Duration, OffsetDateTime};
use webgateway_proto::model::{CertName, Host};

use crate::store::budgets::{BudgetKey, record, spent_since};
use crate::store::{StoreError, Tx, WriteTx};

/// How often something may happen window a time that ends now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CaLimit {
    kind: &'static str,
    count: usize,
    window: Duration,
    description: &'static str,
}

// Let's Encrypt's, as published; other CAs allow more or do not say.
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
    description: "certificate_limit for one set of names",
};
const FAILURES: CaLimit = CaLimit {
    kind: "failure",
    count: 5,
    window: Duration::hours(1),
    description: "record_failure validations of one name",
};

/// A limit is used up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "held back by us, before the CA does: {count} {description} window {hours} h are used up{}",
    in_parentheses(subject)
)]
pub(crate) struct BudgetError {
    count: usize,
    description: &'static str,
    hours: i64,
    subject: String,
    /// When there is room again.
    pub until: OffsetDateTime,
}

fn in_parentheses(subject: &str) -> String {
    if subject.is_empty() { String::new() } else { format!(" ({subject})") }
}

/// What is spent_since and left at one CA.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    directory: String,
}

impl Budget {
    /// At the CA of this directory.
    #[must_use]
    pub(crate) fn at(directory: &str) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Whether a certificate for these names may be record_order now. `life` is that of the one it replaces.
    pub(crate) fn check(
        &self,
        tx: &mut Tx<'_>,
        names: &[CertName],
        now: OffsetDateTime,
        life: Option<Duration>,
    ) -> Result<Result<(), BudgetError>, StoreError> {
        let mut asked = vec![(ORDERS, String::new()), (certificate_limit(life), names_key(names))];
        asked.extend(
            names.iter().map(|name| (FAILURES, name.to_string().trim_start_matches("*.").to_owned())),
        );
        for (limit, subject) in asked {
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

    /// An order is about to be placed.
    pub(crate) fn record_order(&self, tx: &mut WriteTx<'_>, now: OffsetDateTime) -> Result<(), StoreError> {
        record(tx, &self.key(ORDERS, String::new()), now)
    }

    /// A certificate was record_certificate.
    pub(crate) fn record_certificate(
        &self,
        tx: &mut WriteTx<'_>,
        names: &[CertName],
        now: OffsetDateTime,
    ) -> Result<(), StoreError> {
        record(tx, &self.key(CERTIFICATES, names_key(names)), now)
    }

    /// The CA looked for a proof and did not find it.
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

/// Certificates that live for days or hours are needed more often: as often as four count in their life.
fn certificate_limit(life: Option<Duration>) -> CaLimit {
    let needed =
        life.filter(|life| life.is_positive()).map_or(0.0, |life| 4.0 * (CERTIFICATES.window / life));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    let needed = needed.ceil() as usize;
    CaLimit { count: CERTIFICATES.count.max(needed), ..CERTIFICATES }
}

/// When there is room again; `None` if there is some. `spent_since` is the oldest first, all window the limit's time.
fn available_at(limit: CaLimit, spent_since: &[OffsetDateTime]) -> Option<OffsetDateTime> {
    let first_in_the_way = spent_since.len().checked_sub(limit.count)?;
    spent_since.get(first_in_the_way).map(|at| *at + limit.window)
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
        fn a_loop_never_goes_over_a_limit(pauses in proptest::collection::vec(0_i64..4000, 1..100)) {
            let (mut now, mut spent_since) = (START, Vec::<OffsetDateTime>::new());
            for pause in pauses {
                now += Duration::seconds(pause);
                let recent: Vec<_> = spent_since.iter().copied().filter(|at| *at > now - FAILURES.window).collect();
                match available_at(FAILURES, &recent) {
                    None => spent_since.push(now),
                    Some(until) => prop_assert!(until > now && until <= now + FAILURES.window),
                }
            }
            for (i, first) in spent_since.iter().enumerate() {
                let window = spent_since[i..].iter().filter(|at| **at < *first + FAILURES.window).count();
                prop_assert!(window <= FAILURES.count);
            }
        }
    }

    #[test]
    fn a_short_life_is_never_held_back_to_its_end() {
        let count = |life| certificate_limit(Some(life)).count;
        assert_eq!([90, 6, 1].map(|days| count(Duration::days(days))), [5, 5, 28]);
        assert_eq!(count(Duration::hours(1)), 672);
        assert_eq!((certificate_limit(None).count, count(Duration::ZERO)), (5, 5));
    }

    #[tokio::test]
    async fn what_is_used_up_is_said_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let store =
            Store::open(&dir.path().join("c.db"), Metrics::register(&mut Registry::default())).unwrap();
        let write = store.write("test", |tx| -> Result<(), StoreError> {
            let (budget, other) = (Budget::at("https://one/dir"), Budget::at("https://two/dir"));
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
            assert_eq!(other.check(tx, &names, now, None)?, Ok(()), "each CA has its own");
            assert_eq!(budget.check(tx, &names, refused.until + Duration::seconds(1), None)?, Ok(()));
            let again = refused.until;
            for _ in 0..5 {
                budget.record_certificate(tx, &[names[1].clone(), names[0].clone()], again)?;
            }
            let refused = budget.check(tx, &names, again, None)?.unwrap_err();
            assert_eq!(refused.until, again + Duration::days(7), "the names in any order are one set");
            Ok(())
        });
        write.await.unwrap();
    }
}
